//! The ids of a message: by place (`offsetMsgId`), by producer (unique key), and the recall handle.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::cursor::{Cursor, OutOfBytes};
use crate::clock::Clock;
use crate::field::{FieldText, TextSink};
use crate::local_time::LocalTime;

const HEX: &[u8; 16] = b"0123456789ABCDEF";
const RECALL_VERSION: &str = "v1";
/// With padding, as Java writes it; read without, too.
const URL_BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Text that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 32 or 56 hexadecimal digits.
    #[error("id is not 32 or 56 hexadecimal digits")]
    NotHex,
    /// Not a recall handle of version 1.
    #[error("recall handle is invalid")]
    BadHandle,
}

/// Where a message lies: the broker and the byte position in its commit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetId {
    /// The broker that stored it.
    pub store_host: SocketAddr,
    /// Byte position in its commit log.
    pub physical_offset: i64,
}

impl FieldText for OffsetId {
    const IS_PLAIN: bool = true;

    fn write(&self, out: &mut impl TextSink) {
        push_ip(out, self.store_host.ip());
        push_hex(out, &i32::from(self.store_host.port()).to_be_bytes());
        push_hex(out, &self.physical_offset.to_be_bytes());
    }
}

impl OffsetId {
    /// The id as text: 32 digits with an IPv4 host, 56 with IPv6.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(56);
        self.write(&mut text);
        text
    }

    /// Reads an id.
    ///
    /// # Errors
    /// [`IdError::NotHex`].
    pub fn decode(text: &str) -> Result<Self, IdError> {
        let bytes = id_bytes(text)?;
        Self::read(&mut Cursor::new(&bytes), bytes.len()).map_err(|_| IdError::NotHex)
    }

    fn read(at: &mut Cursor<'_>, length: usize) -> Result<Self, OutOfBytes> {
        let ip = read_ip(at, length)?;
        // Ids of the old times hold ports as i32; one that is no port reads as 0.
        let port = u16::try_from(at.i32()?).unwrap_or(0);
        Ok(Self {
            store_host: SocketAddr::new(ip, port),
            physical_offset: at.i64()?,
        })
    }
}

/// Makes unique keys: one generator a process, shared by its producers.
#[derive(Debug)]
pub struct UniqueKeys {
    /// Address, process and instance in hexadecimal; the same in all keys.
    prefix: String,
    counter: AtomicU16,
    clock: Clock,
}

impl UniqueKeys {
    /// `instance` tells two generators of one process apart.
    pub fn new(ip: IpAddr, process_id: u32, instance: u32, clock: Clock) -> Self {
        let mut prefix = String::with_capacity(44);
        push_ip(&mut prefix, ip);
        push_hex(&mut prefix, &(process_id as u16).to_be_bytes());
        push_hex(&mut prefix, &instance.to_be_bytes());
        Self {
            prefix,
            counter: AtomicU16::new(0),
            clock,
        }
    }

    /// The next key.
    pub fn next_key(&self) -> String {
        let now_ms = self.clock.now_ms();
        let since_ms = now_ms - LocalTime::at(now_ms).month_start_ms();
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut key = String::with_capacity(self.prefix.len() + 12);
        key.push_str(&self.prefix);
        push_hex(&mut key, &(since_ms as u32).to_be_bytes());
        push_hex(&mut key, &count.to_be_bytes());
        key
    }
}

/// When a unique key was made, milliseconds: the key holds only the time since its month began, so
/// a time that would be in the future is taken to be of the month before.
///
/// # Errors
/// [`IdError::NotHex`]: the key was made by a client of another kind.
pub fn unique_key_time_ms(key: &str, now_ms: i64) -> Result<i64, IdError> {
    let bytes = id_bytes(key)?;
    let ip_bytes = if bytes.len() == 28 { 16 } else { 4 };
    let since_at = ip_bytes + 2 + 4;
    let since = bytes
        .get(since_at..)
        .and_then(|rest| rest.first_chunk::<4>());
    let since_ms = i64::from(u32::from_be_bytes(*since.ok_or(IdError::NotHex)?));
    let month_start_ms = LocalTime::at(now_ms).month_start_ms();
    if month_start_ms + since_ms < now_ms {
        return Ok(month_start_ms + since_ms);
    }
    Ok(LocalTime::at(month_start_ms - 1).month_start_ms() + since_ms)
}

/// What the sender of a timer message keeps to recall it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallHandle {
    /// Topic that the message is meant for.
    pub topic: String,
    /// Broker that holds it.
    pub broker_name: String,
    /// When it is due, milliseconds.
    pub deliver_ms: i64,
    /// Its unique key.
    pub unique_key: String,
}

impl RecallHandle {
    /// The handle as text.
    pub fn encode(&self) -> String {
        let Self {
            topic,
            broker_name,
            deliver_ms,
            unique_key,
        } = self;
        let plain = format!("{RECALL_VERSION} {topic} {broker_name} {deliver_ms} {unique_key}");
        URL_BASE64.encode(plain)
    }

    /// Reads a handle.
    ///
    /// # Errors
    /// [`IdError::BadHandle`].
    pub fn decode(handle: &str) -> Result<Self, IdError> {
        let bytes = URL_BASE64.decode(handle).map_err(|_| IdError::BadHandle)?;
        let plain = String::from_utf8(bytes).map_err(|_| IdError::BadHandle)?;
        let mut items = plain.split(' ');
        if items.next() != Some(RECALL_VERSION) {
            return Err(IdError::BadHandle);
        }
        let mut item = || items.next().ok_or(IdError::BadHandle);
        Ok(Self {
            topic: item()?.to_owned(),
            broker_name: item()?.to_owned(),
            deliver_ms: item()?.parse().map_err(|_| IdError::BadHandle)?,
            unique_key: item()?.to_owned(),
        })
    }
}

fn push_ip(text: &mut impl TextSink, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => push_hex(text, &ip.octets()),
        IpAddr::V6(ip) => push_hex(text, &ip.octets()),
    }
}

fn read_ip(at: &mut Cursor<'_>, length: usize) -> Result<IpAddr, OutOfBytes> {
    Ok(if length == 28 {
        IpAddr::V6(Ipv6Addr::from(at.array::<16>()?))
    } else {
        IpAddr::V4(Ipv4Addr::from(at.array::<4>()?))
    })
}

fn push_hex(text: &mut impl TextSink, bytes: &[u8]) {
    for byte in bytes {
        let at = 2 * usize::from(*byte);
        text.push_str(&HEX_PAIRS[at..at + 2]);
    }
}

/// The two digits of each byte.
const HEX_PAIRS: &str = match str::from_utf8(hex_pairs().as_flattened()) {
    Ok(pairs) => pairs,
    Err(_) => unreachable!(),
};

const fn hex_pairs() -> [[u8; 2]; 256] {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [HEX[byte >> 4], HEX[byte & 0xF]];
        byte += 1;
    }
    pairs
}

/// The 16 or 28 bytes of an id.
fn id_bytes(text: &str) -> Result<Vec<u8>, IdError> {
    if text.len() != 32 && text.len() != 56 {
        return Err(IdError::NotHex);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(IdError::NotHex);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Ok((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => Err(IdError::NotHex),
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_ids_carry_host_and_offset() {
        let id = OffsetId {
            store_host: "192.168.0.1:10911".parse().unwrap(),
            physical_offset: 0x0102,
        };
        let text = "C0A8000100002A9F0000000000000102";
        assert_eq!(id.encode(), text);
        assert_eq!(OffsetId::decode(text), Ok(id));
        assert_eq!(OffsetId::decode(&text.to_lowercase()), Ok(id));
        let long = OffsetId {
            store_host: "[2001:db8::1]:10911".parse().unwrap(),
            physical_offset: i64::MAX,
        };
        assert_eq!(long.encode().len(), 56);
        assert_eq!(OffsetId::decode(&long.encode()), Ok(long));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let bad_digit = "G".repeat(32);
        for text in ["", "C0A8", bad_digit.as_str(), "éééééééééééééééé"] {
            assert_eq!(OffsetId::decode(text), Err(IdError::NotHex), "{text}");
        }
    }

    #[test]
    fn unique_keys_differ_and_tell_their_time() {
        let now_ms = 1_700_000_000_000;
        let clock = Clock::by_hand(now_ms);
        for ip in ["10.1.2.3", "2001:db8::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let keys = UniqueKeys::new(ip, 70_000, 0xABCD, clock.clone());
            let (first, second) = (keys.next_key(), keys.next_key());
            assert_ne!(first, second);
            assert_eq!(first.len(), if ip.is_ipv4() { 32 } else { 56 });
            assert_eq!(unique_key_time_ms(&first, now_ms + 5), Ok(now_ms));
        }
    }

    #[test]
    fn a_key_of_the_last_month_is_not_read_as_of_the_future() {
        // 2023-11-30 12:00 UTC, read two days later: in December everywhere.
        let made_ms = 1_701_345_600_000;
        let keys = UniqueKeys::new(Ipv4Addr::LOCALHOST.into(), 1, 1, Clock::by_hand(made_ms));
        let read_ms = made_ms + 2 * 86_400_000;
        assert_eq!(unique_key_time_ms(&keys.next_key(), read_ms), Ok(made_ms));
    }

    #[test]
    fn recall_handles_round_trip() {
        let handle = RecallHandle {
            topic: "t".into(),
            broker_name: "b-0".into(),
            deliver_ms: 123,
            unique_key: "KEY".into(),
        };
        let text = handle.encode();
        assert_eq!(text, "djEgdCBiLTAgMTIzIEtFWQ==");
        assert_eq!(RecallHandle::decode(&text), Ok(handle.clone()));
        assert_eq!(RecallHandle::decode(text.trim_end_matches('=')), Ok(handle));
        for bad in ["", "%", "djEgdA==", "djIgdCBiIDEgaw=="] {
            assert_eq!(RecallHandle::decode(bad), Err(IdError::BadHandle), "{bad}");
        }
    }
}
