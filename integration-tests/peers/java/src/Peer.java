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

    interface Program {
        String run(Map<String, String> options) throws Exception;
    }

    private static final Map<String, Program> PROGRAMS = Map.of(
        "send-receive", SendReceive::run,
        "features", Features::run,
        "rebalance", Rebalance::run,
        "restart-load", RestartLoad::run,
        "admin", Admin::run);

    public static void main(String[] arguments) {
        Program program = PROGRAMS.get(arguments[0]);
        Map<String, String> options = new HashMap<>();
        for (String argument : Arrays.asList(arguments).subList(1, arguments.length)) {
            String[] pair = argument.split("=", 2);
            options.put(pair[0], pair[1]);
        }
        int exitCode = 1;
        try {
            System.out.println("ok " + program.run(options));
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
