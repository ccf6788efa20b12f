//! Signs requests, for brokers that ask who calls. The signature is that of every RocketMQ client
//! since 4.4: HMAC-SHA1 over the values of a request's fields, in the order of their names, and its body.

use std::fmt;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac_sha1_compact::Hash;
use thrustmq_proto_compat::command::{Body, Command};
use thrustmq_remoting::{Refusal, RpcHook};

const ACCESS_KEY: &str = "AccessKey";
const SECURITY_TOKEN: &str = "SecurityToken";
const SIGNATURE: &str = "Signature";

/// SHA-1 reads as much at a time (RFC 2104 has the rest).
const BLOCK_BYTES: usize = 64;
const INNER_PAD: u8 = 0x36;
const OUTER_PAD: u8 = 0x5c;

/// Who the client is, for brokers with `authenticationEnabled` (or, before 5.3, `aclEnable`).
///
/// A broker that does not accept it refuses with code 16; the error of the call carries its words. The
/// secret and the token are never shown: not by `Debug`, not in a log.
///
/// ```
/// use thrustmq_client::Credentials;
/// let credentials = Credentials::new("orders-service", "its secret");
/// assert!(!format!("{credentials:?}").contains("its secret"));
/// ```
#[derive(Clone)]
pub struct Credentials {
    access_key: String,
    /// Hashes that have taken the secret in: what HMAC begins and ends with.
    inner: Hash,
    outer: Hash,
    security_token: Option<String>,
}

impl Credentials {
    /// A user's name (`access_key`) and the secret that only it and the brokers know.
    pub fn new(access_key: impl Into<String>, secret_key: impl AsRef<str>) -> Self {
        let secret_key = secret_key.as_ref().as_bytes();
        Self {
            access_key: access_key.into(),
            inner: keyed(secret_key, INNER_PAD),
            outer: keyed(secret_key, OUTER_PAD),
            security_token: None,
        }
    }

    /// A token that goes with temporary keys of a cloud. Default: none.
    pub fn security_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }

    fn sign(&self, request: &mut Command) {
        // Set, not added: a request that is sent a second time is signed a second time.
        request.fields.set(ACCESS_KEY, &self.access_key);
        if let Some(token) = &self.security_token {
            request.fields.set(SECURITY_TOKEN, token);
        }
        let signature = self.signature(request);
        request.fields.set(SIGNATURE, &signature);
    }

    fn signature(&self, request: &Command) -> String {
        let mut fields: Vec<_> = request.fields.iter().collect();
        fields.sort_unstable();
        let mut inner = self.inner;
        for (name, value) in fields {
            if name != SIGNATURE {
                inner.update(value);
            }
        }
        match &request.body {
            Body::Empty => {}
            Body::One(bytes) => inner.update(bytes),
            Body::Many(pieces) => pieces.iter().for_each(|piece| inner.update(piece)),
        }
        let mut outer = self.outer;
        outer.update(inner.finalize());
        STANDARD.encode(outer.finalize())
    }
}

/// A hash that has taken in one of HMAC's two forms of a key.
fn keyed(key: &[u8], pad: u8) -> Hash {
    let long_key;
    let key = if key.len() > BLOCK_BYTES {
        long_key = Hash::hash(key);
        &long_key[..]
    } else {
        key
    };
    let mut block = [pad; BLOCK_BYTES];
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut hash = Hash::new();
    hash.update(block);
    hash
}

impl RpcHook for Credentials {
    fn before(&self, _: SocketAddr, request: &mut Command) -> Result<(), Refusal> {
        self.sign(request);
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
