//! POP: acknowledging many messages at once, and the records of the broker's own log of leases.

use super::table::bodies;

bodies! {
    /// What a client is done with.
    #[derive(Eq)]
    BatchAckMessageRequestBody {
        acks "acks": Vec<BatchAck>,
        broker_name "brokerName": String,
    }

    /// Messages of one pop of one queue.
    #[derive(Eq)]
    BatchAck {
        /// A bit for each message from `start_offset` on: little-endian bytes in base64.
        bit_set "b": String,
        consumer_group "c": String,
        /// Milliseconds.
        invisible_time "it": i64,
        /// Milliseconds since 1970-01-01 UTC.
        pop_time "pt": i64,
        queue_id "q": i32,
        /// Which of the group's topics: `0` the topic, `1` and `2` retry topics.
        retry "r": String,
        revive_queue_id "rq": i32,
        start_offset "so": i64,
        topic "t": String,
    }

    /// A lease of messages of one queue, as the broker's log of leases holds it.
    #[derive(Eq)]
    PopCheckPoint {
        /// A bit for each message that is done.
        bit_map "bm": i32,
        broker_name "bn": String,
        consumer_group "c": String,
        /// Distance of each message to `start_offset`; none from brokers of old: then they are consecutive.
        offset_diffs "d": Vec<i32>,
        /// Milliseconds.
        invisible_time "it": i64,
        /// How many messages.
        count "n": i32,
        /// Milliseconds since 1970-01-01 UTC.
        pop_time "pt": i64,
        queue_id "q": i32,
        revive_offset "ro": i64,
        /// How often it was written again; absent the first time.
        rewrites "rp": Option<String>,
        start_offset "so": i64,
        topic "t": String,
    }

    /// One message of a lease is done.
    #[derive(Eq)]
    AckMsg {
        ack_offset "ao": i64,
        broker_name "bn": String,
        consumer_group "c": String,
        /// Milliseconds since 1970-01-01 UTC.
        pop_time "pt": i64,
        queue_id "q": i32,
        start_offset "so": i64,
        topic "t": String,
    }

    /// Messages of a lease are done.
    #[derive(Eq)]
    BatchAckMsg {
        /// Not used: -1.
        ack_offset "ao": i64,
        ack_offsets "aol": Vec<i64>,
        broker_name "bn": String,
        consumer_group "c": String,
        /// Milliseconds since 1970-01-01 UTC.
        pop_time "pt": i64,
        queue_id "q": i32,
        start_offset "so": i64,
        topic "t": String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastjson::{from_slice, to_vec};

    /// As Java 5.5.0 writes it.
    #[test]
    fn acknowledgements_are_written_as_java_writes_them() {
        let json = r#"{"acks":[{"b":"AQI=","c":"g","it":5,"pt":4,"q":2,"r":"1","rq":3,"so":100,"t":"t"}],"brokerName":"broker-a"}"#;
        let body: BatchAckMessageRequestBody = from_slice(json.as_bytes()).unwrap();
        assert_eq!((body.acks[0].start_offset, body.acks[0].queue_id), (100, 2));
        assert_eq!(to_vec(&body).unwrap(), json.as_bytes());
    }

    #[test]
    fn records_of_leases_are_read_and_written() {
        let checkpoint = r#"{"bm":0,"bn":"broker-a","c":"g","d":[0,2],"it":60000,"n":2,"pt":4,"q":2,"ro":0,"so":100,"t":"t"}"#;
        let read: PopCheckPoint = from_slice(checkpoint.as_bytes()).unwrap();
        assert_eq!(
            (read.offset_diffs.as_slice(), read.rewrites.as_ref()),
            (&[0, 2][..], None)
        );
        assert_eq!(to_vec(&read).unwrap(), checkpoint.as_bytes());
        let ack = r#"{"ao":-1,"aol":[100,102],"bn":"b","c":"g","pt":4,"q":2,"so":100,"t":"t"}"#;
        let read: BatchAckMsg = from_slice(ack.as_bytes()).unwrap();
        assert_eq!(to_vec(&read).unwrap(), ack.as_bytes());
        let single: AckMsg = from_slice(ack.as_bytes()).unwrap();
        assert_eq!((single.ack_offset, single.pop_time), (-1, 4));
    }
}
