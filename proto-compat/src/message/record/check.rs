//! Reading records, trusting nothing that is read.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::checksum::{self, Ending};
use super::{BLANK_BYTES, MAGIC_BLANK, MAGIC_V1, MAGIC_V2, NewMessage, body_crc};
use crate::message::cursor::{Cursor, OutOfBytes};
use crate::message::sys_flag;

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Filler up to the end of a commit-log file.
    #[error("filler of {bytes} bytes at the end of the file")]
    Blank {
        /// Length that the filler names.
        bytes: usize,
    },
    /// Nothing was written here: length and magic are 0.
    #[error("nothing written here")]
    Unwritten,
    /// The record says it is longer than the bytes there are.
    #[error("record of {need} bytes, only {have} there")]
    Truncated {
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// No magic that we know.
    #[error("unknown magic {0:#x}")]
    BadMagic(i32),
    /// The lengths of the parts do not add up to the record's.
    #[error("record of {total} bytes whose parts do not add up to it")]
    BadLength {
        /// Length that the record names.
        total: i32,
    },
    /// The body is not the one that was stored.
    #[error("body checksum is {found:#x}, stored was {stored:#x}")]
    BadCrc {
        /// As stored.
        stored: i32,
        /// As computed.
        found: i32,
    },
    /// The record is not the one that was stored.
    #[error("record checksum is {found:#x}, stored was {stored:#x}")]
    BadRecordCrc {
        /// As stored.
        stored: u64,
        /// As computed.
        found: u64,
    },
    /// The record ends with what was its checksum, but for one byte.
    #[error("record checksum is damaged")]
    DamagedRecordCrc,
    /// The record has no checksum, which was demanded.
    #[error("record without checksum")]
    NoRecordCrc,
    /// The topic is not text.
    #[error("topic is not UTF-8")]
    BadTopic,
}

/// How much [`check`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckBody {
    /// Magic and lengths only.
    Skip,
    /// The body's checksum as well. For what has travelled: Java's brokers and proxies write some
    /// records again for the way, and leave the record's checksum as it was
    /// (`Broker2Client.checkProducerTransactionState`, `PopMessageProcessor`, `RemotingConverter`).
    BodyCrc,
    /// The body's checksum, and the whole record's if it has one.
    Crc,
    /// As `Crc`, and a record without a checksum is refused (Java: `forceVerifyPropCRC`).
    CrcDemanded,
}

/// A record's fields, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// All bytes of the record.
    pub record_bytes: usize,
    /// Magic: v1 or v2.
    pub magic: i32,
    /// Checksum of the body as stored.
    pub body_crc: i32,
    /// Queue within the topic.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// Entry number in the consume queue.
    pub queue_offset: i64,
    /// Byte position in the commit log.
    pub physical_offset: i64,
    /// System flag.
    pub sys_flag: i32,
    /// When the producer made it, milliseconds.
    pub born_timestamp: i64,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// When it was stored, milliseconds.
    pub store_timestamp: i64,
    /// The broker that stored it.
    pub store_host: SocketAddr,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    /// Physical offset of the half message.
    pub prepared_transaction_offset: i64,
    /// Body as stored, perhaps compressed.
    pub body: &'a [u8],
    /// Topic.
    pub topic: &'a str,
    /// Properties as stored.
    pub properties: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// The properties as text; foreign bytes become replacement characters, as Java does.
    pub fn properties_text(&self) -> Cow<'a, str> {
        // Checking what is nearly always sound text is several times cheaper than replacing.
        match std::str::from_utf8(self.properties) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(self.properties),
        }
    }

    /// Whether topic or properties end in zero bytes: after a power cut that is a record whose last
    /// bytes did not reach the disk, for the checksum covers the body only.
    pub fn ends_in_zeros(&self) -> bool {
        let ends_in_zero = |bytes: &[u8]| bytes.last() == Some(&0);
        ends_in_zero(self.topic.as_bytes()) || ends_in_zero(self.properties)
    }

    /// The record as a new message, to store it again elsewhere.
    ///
    /// `properties` is given apart since it is mostly changed on the way.
    pub fn as_new<'b>(&self, properties: &'b str) -> NewMessage<'b>
    where
        'a: 'b,
    {
        NewMessage {
            topic: self.topic,
            queue_id: self.queue_id,
            flag: self.flag,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_timestamp,
            born_host: self.born_host,
            store_host: self.store_host,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: self.prepared_transaction_offset,
            body: self.body,
            properties,
        }
    }
}

/// Reads the record that `bytes` begins with; more bytes may follow it.
///
/// # Errors
/// The bytes are no whole, sound record; the error says what they are instead.
pub fn check(bytes: &[u8], body: CheckBody) -> Result<RecordView<'_>, RecordError> {
    let truncated = RecordError::Truncated {
        need: BLANK_BYTES,
        have: bytes.len(),
    };
    let mut head = Cursor::new(bytes);
    let total = head.i32().map_err(|_| truncated)?;
    let magic = head.i32().map_err(|_| truncated)?;
    let length = usize::try_from(total).map_err(|_| RecordError::BadLength { total });
    match magic {
        MAGIC_V1 | MAGIC_V2 => {}
        MAGIC_BLANK => return Err(RecordError::Blank { bytes: length? }),
        0 if total == 0 => return Err(RecordError::Unwritten),
        _ => return Err(RecordError::BadMagic(magic)),
    }
    let record = bytes.get(..length?).ok_or(RecordError::Truncated {
        need: length?,
        have: bytes.len(),
    })?;
    if matches!(body, CheckBody::Crc | CheckBody::CrcDemanded) {
        check_record_crc(record, body)?;
    }
    let view = fields(record).map_err(|error| match error {
        PartError::OutOfBytes => RecordError::BadLength { total },
        PartError::Topic => RecordError::BadTopic,
    })?;
    if body != CheckBody::Skip && !view.body.is_empty() {
        let found = body_crc(view.body);
        if found != view.body_crc {
            return Err(RecordError::BadCrc {
                stored: view.body_crc,
                found,
            });
        }
    }
    Ok(view)
}

fn check_record_crc(record: &[u8], body: CheckBody) -> Result<(), RecordError> {
    match checksum::ending(record) {
        Ending::Checksum(stored) => {
            let found = u64::from(checksum::compute(record));
            if found != stored {
                return Err(RecordError::BadRecordCrc { stored, found });
            }
            Ok(())
        }
        Ending::Damaged => Err(RecordError::DamagedRecordCrc),
        Ending::Other if body == CheckBody::CrcDemanded => Err(RecordError::NoRecordCrc),
        Ending::Other => Ok(()),
    }
}

/// Why a part of a record cannot be read.
enum PartError {
    OutOfBytes,
    Topic,
}

impl From<OutOfBytes> for PartError {
    fn from(_: OutOfBytes) -> Self {
        Self::OutOfBytes
    }
}

/// Reads all fields of a record that takes exactly these bytes.
fn fields(record: &[u8]) -> Result<RecordView<'_>, PartError> {
    let mut at = Cursor::new(record);
    at.i32()?;
    let magic = at.i32()?;
    let body_crc = at.i32()?;
    let queue_id = at.i32()?;
    let flag = at.i32()?;
    let queue_offset = at.i64()?;
    let physical_offset = at.i64()?;
    let sys_flag = at.i32()?;
    let born_timestamp = at.i64()?;
    let born_host = host(&mut at, sys_flag & sys_flag::BORN_HOST_V6 != 0)?;
    let store_timestamp = at.i64()?;
    let store_host = host(&mut at, sys_flag & sys_flag::STORE_HOST_V6 != 0)?;
    let reconsume_times = at.i32()?;
    let prepared_transaction_offset = at.i64()?;
    let body_bytes = usize::try_from(at.i32()?).map_err(|_| OutOfBytes)?;
    let body = at.bytes(body_bytes)?;
    let topic_bytes = if magic == MAGIC_V2 {
        usize::try_from(at.i16()?).map_err(|_| OutOfBytes)?
    } else {
        usize::from(at.u8()?)
    };
    let topic = std::str::from_utf8(at.bytes(topic_bytes)?).map_err(|_| PartError::Topic)?;
    let properties_bytes = usize::try_from(at.i16()?).map_err(|_| OutOfBytes)?;
    let properties = at.bytes(properties_bytes)?;
    if !at.is_empty() {
        return Err(PartError::OutOfBytes);
    }
    Ok(RecordView {
        record_bytes: record.len(),
        magic,
        body_crc,
        queue_id,
        flag,
        queue_offset,
        physical_offset,
        sys_flag,
        born_timestamp,
        born_host,
        store_timestamp,
        store_host,
        reconsume_times,
        prepared_transaction_offset,
        body,
        topic,
        properties,
    })
}

fn host(at: &mut Cursor<'_>, v6: bool) -> Result<SocketAddr, OutOfBytes> {
    let ip = if v6 {
        IpAddr::V6(Ipv6Addr::from(at.array::<16>()?))
    } else {
        IpAddr::V4(Ipv4Addr::from(at.array::<4>()?))
    };
    // Java keeps ports as i32; one that is no port cannot be answered to, so it reads as 0.
    let port = u16::try_from(at.i32()?).unwrap_or(0);
    Ok(SocketAddr::new(ip, port))
}
