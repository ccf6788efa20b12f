import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * What clients may expect of a broker, a case each: the same cases must pass on the Java broker and on ours.
 * `namesrv=address`, `cases=all` or names with commas, `without=names`, `parallel=number` of cases at one time,
 * `suffix=text` to have other topics than a run before on the same broker.
 * Prints a line a case, `pass name ms`, `fail name reason` or `skip name reason`.
 */
final class Conformance {
    interface Case {
        void run(Scene scene) throws Exception;
    }

    private final Map<String, Case> cases = new LinkedHashMap<>();
    private final List<String> failures = new ArrayList<>();

    /** A case has a topic and a group of its name, so that cases may run at one time. */
    void add(String name, Case body) {
        Peer.check(cases.put(name, body) == null, "two cases " + name);
    }

    void skip(String name, String reason) {
        System.out.println("skip " + name + " " + reason);
    }

    static String run(Map<String, String> options) throws Exception {
        // Instead of 20 s: a case that waits for a rebalance should wait for nothing else.
        System.setProperty("rocketmq.client.rebalance.waitInterval", "1000");
        Conformance all = new Conformance();
        // Those that wait longest begin first.
        Order.addTo(all);
        OnlyIn5.addTo(all);
        Retries.addTo(all);
        Transactions.addTo(all);
        Timers.addTo(all);
        Statistics.addTo(all);
        Replies.addTo(all);
        Offsets.addTo(all);
        Push.addTo(all);
        Pull.addTo(all);
        LightQueues.addTo(all);
        Filters.addTo(all);
        Sending.addTo(all);
        Administration.addTo(all);
        return all.runChosen(options);
    }

    private String runChosen(Map<String, String> options) throws Exception {
        if (!options.getOrDefault("cases", "all").equals("all")) {
            cases.keySet().retainAll(Arrays.asList(options.get("cases").split(",")));
        }
        cases.keySet().removeAll(Arrays.asList(options.getOrDefault("without", "").split(",")));
        String suffix = options.getOrDefault("suffix", "");
        World world = new World(options.get("namesrv"));
        ExecutorService pool = Executors.newFixedThreadPool(Integer.parseInt(options.getOrDefault("parallel", "16")));
        List<Future<?>> running = new ArrayList<>();
        cases.forEach((name, body) -> running.add(pool.submit(() -> runCase(new Scene(world, name + suffix), name, body))));
        for (Future<?> one : running) {
            one.get();
        }
        Peer.check(failures.isEmpty(), failures.size() + " of " + cases.size() + " cases: " + failures);
        return "cases=" + cases.size();
    }

    private void runCase(Scene scene, String name, Case body) {
        long begin = System.currentTimeMillis();
        try {
            body.run(scene);
            System.out.println("pass " + name + " " + (System.currentTimeMillis() - begin));
        } catch (Throwable e) {
            e.printStackTrace();
            System.out.println("fail " + name + " " + e);
            synchronized (failures) {
                failures.add(name);
            }
        } finally {
            scene.close();
        }
    }
}
