//! The broker's long-running threads, a row each: what they run, and what makes them leave.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::broker::Broker;
use crate::delay::Delivery;
use crate::pop::revive::Revival;
use crate::processor::{pop_order, pop_polling};
use crate::timer::{self, Timer};
use crate::transaction;

/// One thread for the broker's whole life.
struct Row {
    name: &'static str,
    run: fn(&Arc<Broker>),
    /// Makes `run` return soon.
    stop: fn(&Broker),
}

const ROWS: &[Row] = &[
    Row {
        name: "metadata-writer",
        run: |broker| broker.metadata.run(|| broker.write_changed_metadata()),
        stop: |broker| broker.metadata.stop(),
    },
    Row {
        name: "delay-delivery",
        run: deliver_delayed,
        stop: |broker| broker.delay.stop(),
    },
    Row {
        name: "transaction-check",
        run: transaction::run,
        stop: |broker| broker.transactions.stop(),
    },
    Row {
        name: "pop-revive",
        run: revive_popped,
        stop: |broker| broker.pop.stop(),
    },
    Row {
        name: "pop-polling",
        run: pop_polling::answer_overdue,
        stop: |broker| broker.pop.polling_alarm.stop(),
    },
    Row {
        name: "timer",
        run: deliver_timed,
        stop: |broker| with_timer(broker, Timer::stop_delivery),
    },
    Row {
        name: "timer-keeper",
        run: |broker| with_timer(broker, |timer| timer::keep(timer, broker)),
        stop: |broker| with_timer(broker, Timer::stop_keeper),
    },
    Row {
        name: "pop-order",
        run: pop_order::wake_free,
        stop: |broker| broker.orders.stop(),
    },
];

fn with_timer(broker: &Broker, act: impl FnOnce(&Timer)) {
    if let Some(timer) = &broker.timer {
        act(timer);
    }
}

fn deliver_timed(broker: &Arc<Broker>) {
    with_timer(broker, |timer| timer::Service::new(timer, broker).run());
}

fn deliver_delayed(broker: &Arc<Broker>) {
    let Broker {
        delay,
        store,
        stats,
        clock,
        ..
    } = &**broker;
    Delivery::new(delay, store, stats, clock).run();
}

fn revive_popped(broker: &Arc<Broker>) {
    let Broker {
        pop,
        store,
        topics,
        groups,
        offsets,
        stats,
        namesrv,
        config,
        clock,
        ..
    } = &**broker;
    let revival = Revival {
        pop,
        store,
        topics,
        groups,
        offsets,
        stats,
        namesrv,
        config,
        clock,
    };
    revival.run();
}

/// The running threads.
pub(crate) struct Threads {
    running: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts all of them.
    pub(crate) fn start(broker: &Arc<Broker>) -> io::Result<Self> {
        let start = |row: &Row| {
            let (run, broker) = (row.run, Arc::clone(broker));
            Builder::new()
                .name(row.name.to_owned())
                .spawn(move || run(&broker))
        };
        let running = ROWS.iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self { running })
    }

    /// Makes them leave, and blocks until they have.
    pub(crate) fn stop(self, broker: &Broker) {
        for row in ROWS {
            (row.stop)(broker);
        }
        for (row, thread) in ROWS.iter().zip(self.running) {
            if thread.join().is_err() {
                tracing::error!(thread = row.name, "a thread of the broker panicked");
            }
        }
    }
}
