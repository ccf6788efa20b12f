//! Asks an address server where the name servers are: one GET, whose answer's first line lists them.

use std::io::Read;
use std::time::Duration;

/// The port of address servers, unless the domain names one.
const PORT: u16 = 8080;
const PATH: &str = "/rocketmq/nsaddr";
const TIMEOUT: Duration = Duration::from_secs(3);
/// Far longer than any list, far shorter than what hurts.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Between two questions, as in Java's client.
pub(crate) const INTERVAL: Duration = Duration::from_secs(120);

/// Where to ask.
#[derive(Debug, Clone)]
pub(crate) struct Domain {
    url: String,
}

impl Domain {
    /// The address server of a domain (`host` or `host:port`, or a whole URL), for clients of a unit.
    pub(crate) fn new(domain: &str, unit_name: Option<&str>) -> Self {
        let mut url = if domain.contains("://") {
            domain.to_owned()
        } else if domain.contains(':') {
            format!("http://{domain}{PATH}")
        } else {
            format!("http://{domain}:{PORT}{PATH}")
        };
        if let Some(unit) = unit_name.filter(|unit| !unit.is_empty()) {
            url.push_str(&format!("-{unit}?nofix=1"));
        }
        Self { url }
    }

    /// Where it asks, for errors.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The name servers, `host:port;host:port`, or why there is no answer.
    pub(crate) async fn ask(&self) -> Result<String, String> {
        let url = self.url.clone();
        let asked = tokio::task::spawn_blocking(move || get(&url));
        asked.await.unwrap_or_else(|cause| Err(cause.to_string()))
    }
}

fn get(url: &str) -> Result<String, String> {
    let request = minreq::get(url)
        .with_timeout(TIMEOUT.as_secs())
        .with_max_headers_size(ANSWER_BYTES_MAX);
    let answer = request.send_lazy().map_err(|cause| cause.to_string())?;
    if answer.status_code != 200 {
        return Err(format!(
            "it answered with HTTP status {}",
            answer.status_code
        ));
    }
    let mut text = String::new();
    let mut body = Read::take(answer, ANSWER_BYTES_MAX as u64);
    body.read_to_string(&mut text)
        .map_err(|cause| cause.to_string())?;
    Ok(text.trim().lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_those_of_javas_client() {
        let url = |domain, unit| Domain::new(domain, unit).url;
        assert_eq!(
            url("mq.example", None),
            "http://mq.example:8080/rocketmq/nsaddr"
        );
        assert_eq!(
            url("mq.example:80", None),
            "http://mq.example:80/rocketmq/nsaddr"
        );
        assert_eq!(
            url("mq.example", Some("east")),
            "http://mq.example:8080/rocketmq/nsaddr-east?nofix=1"
        );
        assert_eq!(
            url("http://mq.example/list", Some("")),
            "http://mq.example/list"
        );
    }
}
