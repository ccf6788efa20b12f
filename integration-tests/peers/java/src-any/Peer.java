import java.lang.reflect.InvocationTargetException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * The Java side of the integration tests: `Peer <program> key=value…`.
 * The last line on stdout is the result, `ok …` or `failed …`; the exit code says the same.
 */
public final class Peer {
    private Peer() {
    }

    /** Class and method by name: which of them there are depends on the version of the client. */
    private static final Map<String, String> PROGRAMS = Map.ofEntries(
        Map.entry("send-receive", "SendReceive.run"),
        Map.entry("rebalance", "Rebalance.run"),
        Map.entry("orderly", "Orderly.run"),
        Map.entry("orderly-child", "Orderly.child"),
        Map.entry("restart-load", "RestartLoad.run"),
        Map.entry("admin", "Admin.run"),
        Map.entry("sql92", "Sql92.run"),
        Map.entry("sql-restart", "SqlRestart.run"),
        Map.entry("namespaced", "Namespaced.run"),
        Map.entry("conformance", "Conformance.run"),
        Map.entry("mirror", "Mirror.run"),
        Map.entry("traces", "Traces.run"));

    private static Object run(String program, Map<String, String> options) throws Throwable {
        String[] name = PROGRAMS.get(program).split("\\.");
        try {
            return Class.forName(name[0]).getDeclaredMethod(name[1], Map.class).invoke(null, options);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    public static void main(String[] arguments) {
        Map<String, String> options = new HashMap<>();
        for (String argument : Arrays.asList(arguments).subList(1, arguments.length)) {
            String[] pair = argument.split("=", 2);
            options.put(pair[0], pair[1]);
        }
        int exitCode = 1;
        try {
            System.out.println("ok " + run(arguments[0], options));
            exitCode = 0;
        } catch (Throwable e) {
            e.printStackTrace();
            System.out.println("failed " + e);
        }
        System.out.flush();
        Runtime.getRuntime().halt(exitCode); // clients leave threads behind
    }

    static void check(boolean holds, String message) {
        if (!holds) {
            throw new IllegalStateException(message);
        }
    }

    /** Waits until the condition holds; says what was missing when it never does. */
    static void await(String what, long timeoutMs, java.util.function.BooleanSupplier condition) throws InterruptedException {
        long deadline = System.currentTimeMillis() + timeoutMs;
        while (!condition.getAsBoolean()) {
            check(System.currentTimeMillis() < deadline, "waited " + timeoutMs + " ms for " + what);
            Thread.sleep(20);
        }
    }
}
