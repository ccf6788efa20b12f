//! The requests of a script, one a line: `name | code | fields | options | body`.
//!
//! Fields are `key=value`, separated by blanks. `$NAME` among them stands for the fields that a line `let NAME = …`
//! gave before; a key that comes again replaces the one before. `%01` is the character of that number, so that a value
//! can hold blanks and separators. `{NAME}` is what an earlier request saved. Options are separated by blanks too; `-`
//! stands for none. A `#` begins a comment line.

use std::collections::BTreeMap;

use anyhow::Context;

/// How much of an answer is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// All of it.
    Everything,
    /// Everything, and of the body only its keys: its values are measured.
    Keys,
    /// Everything, and of the body only the members of these names, at any depth: the others are measured.
    Members(Vec<String>),
    /// Only the code: the rest is text for people, or the broker's own.
    Code,
}

/// One request of a script.
#[derive(Debug, Clone)]
pub struct Request {
    /// Unique in the script.
    pub name: String,
    /// Request code.
    pub code: i32,
    /// Header fields, `{NAME}` not yet replaced.
    pub fields: Vec<(String, String)>,
    /// `via=NAME`: the connection, which stays open to the end.
    pub connection: String,
    /// `save=NAME:FIELD`, once or more: fields of the answer that later requests use.
    pub saved: Vec<(String, String)>,
    /// `until=FIELD:VALUE`: the request is repeated until the answer holds this, since what it asks for comes a moment
    /// after what caused it. `code` is the answer's, and `body.a.b` a number in its body, or a text.
    pub until: Option<(String, String)>,
    /// `look=…`
    pub look: Look,
    /// `silent`: no answer is expected.
    pub silent: bool,
    /// The body, `{NAME}` not replaced: it may be JSON.
    pub body: Vec<u8>,
}

/// Reads a script.
pub fn parse(text: &str) -> anyhow::Result<Vec<Request>> {
    let mut named = BTreeMap::new();
    let mut requests: Vec<Request> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(definition) = line.strip_prefix("let ") {
            let (name, fields) = definition.split_once('=').context("let NAME = fields")?;
            named.insert(name.trim().to_owned(), fields.trim().to_owned());
            continue;
        }
        let request = request(line, &named).with_context(|| line.to_owned())?;
        let is_new = requests.iter().all(|other| other.name != request.name);
        anyhow::ensure!(is_new, "two requests are named {}", request.name);
        requests.push(request);
    }
    Ok(requests)
}

fn request(line: &str, named: &BTreeMap<String, String>) -> anyhow::Result<Request> {
    let mut parts = line.splitn(5, " | ").map(str::trim);
    let name = parts.next().context("a name")?.to_owned();
    let code = parts.next().context("a code")?.parse()?;
    let fields = fields(parts.next().unwrap_or_default(), named)?;
    let options = parts.next().unwrap_or_default();
    let body = unescape(parts.next().unwrap_or_default());
    let mut request = Request {
        name,
        code,
        fields,
        connection: "main".to_owned(),
        saved: Vec::new(),
        until: None,
        look: Look::Everything,
        silent: false,
        body,
    };
    for option in options.split_whitespace().filter(|option| *option != "-") {
        set_option(&mut request, option)?;
    }
    Ok(request)
}

fn set_option(request: &mut Request, option: &str) -> anyhow::Result<()> {
    let pair = |value: &str| -> anyhow::Result<(String, String)> {
        let (left, right) = value.split_once(':').context("NAME:VALUE")?;
        Ok((left.to_owned(), right.to_owned()))
    };
    match option.split_once('=') {
        None if option == "silent" => request.silent = true,
        Some(("via", value)) => request.connection = value.to_owned(),
        Some(("save", value)) => request.saved.push(pair(value)?),
        Some(("until", value)) => request.until = Some(pair(value)?),
        Some(("look", "keys")) => request.look = Look::Keys,
        Some(("look", "code")) => request.look = Look::Code,
        Some(("look", wanted)) => {
            let names = wanted.strip_prefix("only:").context("no such look")?;
            request.look = Look::Members(names.split(',').map(str::to_owned).collect());
        }
        _ => anyhow::bail!("no option {option}"),
    }
    Ok(())
}

fn fields(text: &str, named: &BTreeMap<String, String>) -> anyhow::Result<Vec<(String, String)>> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for word in text.split_whitespace().filter(|word| *word != "-") {
        if let Some(name) = word.strip_prefix('$') {
            let given = named.get(name).with_context(|| format!("no let {name}"))?;
            fields.extend(self::fields(given, named)?);
            continue;
        }
        let (key, value) = word.split_once('=').context("key=value")?;
        fields.retain(|(other, _)| other != key);
        let value = String::from_utf8(unescape(value))?;
        fields.push((key.to_owned(), value));
    }
    Ok(fields)
}

/// `%` and two hexadecimal digits are a byte; any other `%` stands for itself.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let byte = after
            .get(1..3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let taken = match byte {
            Some(byte) => {
                bytes.push(byte);
                3
            }
            None => {
                bytes.push(b'%');
                1
            }
        };
        rest = after.get(taken..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Look, parse};

    #[test]
    fn a_line_is_a_request() {
        let script = "# comment\nlet S = a=g b=t\nname | 310 | $S b=%RETRY%g i=k%01v%20w | via=c until=offset:3 look=keys | {\"a | b\"}";
        let requests = parse(script).unwrap();
        let [request] = requests.as_slice() else {
            panic!("one request: {requests:?}");
        };
        let fields: Vec<_> = request
            .fields
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(fields, [("a", "g"), ("b", "%RETRY%g"), ("i", "k\u{1}v w")]);
        assert_eq!(request.until, Some(("offset".to_owned(), "3".to_owned())));
        assert_eq!((request.code, &request.look), (310, &Look::Keys));
        assert_eq!(request.body, b"{\"a | b\"}");
        let looks = parse("m | 28 | - | look=only:a,b").unwrap();
        let names = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(looks[0].look, Look::Members(names));
        assert!(parse("m | 28 | - | look=some").is_err());
        assert!(parse("n | 1\nn | 2").is_err(), "names are unique");
    }
}
