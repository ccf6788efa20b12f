//! Values of the broker's keys that are words.

thrustmq_settings::config_words! {
    /// When a message is on disk.
    FlushDiskType {
        /// Some time after the producer got its answer.
        AsyncFlush "ASYNC_FLUSH",
        /// Before the producer gets its answer.
        SyncFlush "SYNC_FLUSH",
    }
    /// How the consumers of a group take messages, where they let the broker divide the queues.
    RequestMode {
        /// Each queue is pulled by one of them.
        Pull "PULL",
        /// They pop: several may share a queue.
        Pop "POP",
    }
    /// What this broker is to the others of its name.
    BrokerRole {
        /// It takes messages, and waits for no replica.
        AsyncMaster "ASYNC_MASTER",
    }
}
