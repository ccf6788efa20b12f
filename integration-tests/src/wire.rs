//! Frames made and read by hand, so that a test can also send what no client would.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

/// The bit of the flag that tells answers from requests.
const IS_ANSWER: i64 = 1;
/// Far longer than any answer takes, on a machine that stands still for a while too.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection that speaks whole frames or loose bytes.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
}

/// What a server answered, or asked by itself.
#[derive(Debug)]
pub struct Answer {
    /// The server asks: it sends notices and checks to its clients.
    pub is_request: bool,
    /// The response code.
    pub code: i64,
    /// The number of the request.
    pub opaque: i64,
    /// The text beside the code, empty when there is none.
    pub remark: String,
    /// The custom header fields.
    pub fields: Value,
    /// The body.
    pub body: Vec<u8>,
}

/// A request frame with a JSON header.
pub fn request(code: i32, opaque: i32, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let fields: serde_json::Map<String, Value> = fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .collect();
    let header = json!({
        "code": code, "language": "OTHER", "version": 513, "opaque": opaque, "flag": 0, "extFields": fields,
    });
    frame(header.to_string().as_bytes(), body)
}

/// A frame around any header bytes, marked as JSON.
pub fn frame(header: &[u8], body: &[u8]) -> Vec<u8> {
    let header_length = u32::try_from(header.len()).expect("test headers are small");
    let length = 4 + header_length + u32::try_from(body.len()).expect("test bodies are small");
    let mut bytes = Vec::with_capacity(header.len() + body.len() + 8);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&header_length.to_be_bytes());
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(body);
    bytes
}

impl RawConnection {
    /// Connects; reads give up after a minute.
    pub fn open(address: &str) -> anyhow::Result<Self> {
        let address = address
            .to_socket_addrs()?
            .next()
            .context("an address of a server")?;
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// How long a send or a read may wait.
    pub fn set_timeout(&mut self, timeout: Duration) -> anyhow::Result<()> {
        self.stream.set_read_timeout(Some(timeout))?;
        Ok(self.stream.set_write_timeout(Some(timeout))?)
    }

    /// Sends bytes as they are. A server may close the connection on the first of them.
    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The next answer or request; an error when the server closed the connection or was silent for a minute.
    pub fn receive(&mut self) -> anyhow::Result<Answer> {
        let length = self.read_length()?;
        let header_length = self.read_length()?;
        anyhow::ensure!(header_length >> 24 == 0, "the answer's header is not JSON");
        let rest = length
            .checked_sub(4 + header_length)
            .context("a length that lies")?;
        let header: Value = serde_json::from_slice(&self.read(header_length)?)?;
        let flag = header["flag"].as_i64().context("a flag")?;
        Ok(Answer {
            is_request: flag & IS_ANSWER == 0,
            code: header["code"].as_i64().context("a code")?,
            opaque: header["opaque"].as_i64().context("an opaque")?,
            remark: header["remark"].as_str().unwrap_or_default().to_owned(),
            fields: header["extFields"].clone(),
            body: self.read(rest)?,
        })
    }

    /// Sends a request and reads its answer; what the server asks meanwhile is left out.
    pub fn call(
        &mut self,
        code: i32,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        self.send(&request(code, 77, fields, body))?;
        let mut answer = self.receive()?;
        while answer.is_request {
            answer = self.receive()?;
        }
        anyhow::ensure!(answer.opaque == 77, "an answer to something else");
        Ok(answer)
    }

    /// True when the server closes the connection; false when it stays open and silent for a minute.
    pub fn is_closed_by_server(&mut self) -> anyhow::Result<bool> {
        let mut rest = Vec::new();
        let closed = match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        };
        Ok(closed)
    }

    fn read_length(&mut self) -> anyhow::Result<u32> {
        let mut bytes = [0; 4];
        self.stream.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn read(&mut self, length: u32) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// One request on a connection of its own.
pub fn call(
    address: &str,
    code: i32,
    fields: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<Answer> {
    RawConnection::open(address)?.call(code, fields, body)
}
