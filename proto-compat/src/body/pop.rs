//! Acknowledging many popped messages at once.

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
}
