"""What `bench/run` is made of. The flow, leaves first:

machine     describes the machine, and watches what else it does during a measurement
wire        speaks RocketMQ's frames, as far as preparing a broker needs it
servers     builds, fetches, starts and stops what is measured
generator   runs `thrustmq bench` and reads its result
rows        the table of issue 6: works, and the goals for them
sessions    one server from its start to its end, and the works that it is measured with
curves      what a message costs on a broker that holds much; ours only
counted     how many instructions that takes, under callgrind
results     raw results on disk, and their medians
plots       the figures
report      docs/performance.md
"""
