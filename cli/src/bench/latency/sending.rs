//! Sends messages when they are due, and takes the answers.

use std::io::Write;
use std::net::TcpStream;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;
use thrustmq_proto_compat::response_code::ResponseCode;
use tokio::time::Instant;

use super::Shared;
use super::frames::Frames;
use crate::bench::histogram::Histogram;
use crate::bench::measured::Measured;
use crate::bench::measured::micros;
use crate::bench::requests::refused;
use crate::bench::send::SendRequests;
use crate::bench::template::OPAQUE_FIRST;

/// All requests in flight that there can be: the broker is far behind.
const FULL_DELAY: Duration = Duration::from_millis(1);

/// Sends all of the schedule; says how late each left, which is the generator's doing, or that of a
/// broker that does not read.
pub(super) fn send(
    shared: &Shared,
    streams: &[TcpStream],
    mut requests: SendRequests,
) -> anyhow::Result<Histogram> {
    // Else the kernel may wake us 50 µs late. Where it can not be set, that counts.
    let _ = set_current_timer_slack(NonZero::new(1));
    let mut lateness = Histogram::new();
    let mut out = Vec::new();
    for (number, mut stream) in (0..shared.schedule.total()).zip(streams.iter().cycle()) {
        while let Some(wait) = shared.schedule.wait(number, Instant::now()) {
            thread::sleep(wait);
        }
        let slot = loop {
            match shared.in_flight.put(number) {
                Some(slot) => break slot,
                None => thread::sleep(FULL_DELAY),
            }
            if shared.is_over() {
                return Ok(lateness);
            }
        };
        if shared.schedule.is_measured(number) {
            lateness.record(micros(shared.schedule.since_due(number, Instant::now())));
        }
        out.clear();
        requests.begin();
        requests.stamp(number);
        requests.append(slot, &mut out);
        stream.write_all(&out)?;
    }
    Ok(lateness)
}

/// Takes the answers of one connection until it is closed.
pub(super) fn take_answers(shared: &Arc<Shared>, mut frames: Frames) -> anyhow::Result<Measured> {
    let mut measured = Measured::new();
    while frames.wait() {
        let now = Instant::now();
        while let Some(answer) = frames.next()? {
            let slot = u16::try_from(answer.opaque.wrapping_sub(OPAQUE_FIRST)).unwrap_or(u16::MAX);
            let Some(number) = shared.in_flight.take(slot) else {
                anyhow::bail!("an answer to no request: opaque {}", answer.opaque);
            };
            if answer.code != ResponseCode::SUCCESS {
                refused(&answer, &mut measured);
                continue;
            }
            let latency = shared.schedule.since_due(number, now);
            shared.acknowledge(micros(latency));
            if shared.schedule.is_measured(number) {
                measured.count(1, latency);
            }
        }
    }
    Ok(measured)
}
