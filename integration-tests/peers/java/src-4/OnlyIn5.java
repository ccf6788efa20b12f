import java.util.List;

/** The cases that need a client of the 5.x line: listed here by name, and not run. */
final class OnlyIn5 {
    private static final List<String> CASES = List.of("pop-and-ack", "pop-again-after-a-while", "pop-invisible-longer", "pop-batch-ack", "pop-waits",
        "pop-notification", "pop-peek", "pop-polling-info", "pop-orderly", "pop-filtered", "pop-refused", "pop-by-push-consumers", "pop-assignment", "pop-by-priority", "pop-light-queues",
        "timer-recalled", "compression-kinds", "message-types", "topic-groups-and-subscriptions");

    private OnlyIn5() {
    }

    static void addTo(Conformance all) {
        CASES.forEach(name -> all.skip(name, "needs a 5.x client"));
    }
}
