//! Sends the requests of a script in their order, each on its connection.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::answer::{self, Normal};
use super::script::{Look, Request};
use crate::wait::wait_for;
use crate::wire::{self, Answer, RawConnection};

/// How long an answer may take to become what a request waits for: statistics are taken every ten seconds.
const UNTIL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request that gets no answer is listened for.
const SILENCE: Duration = Duration::from_millis(700);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers by the name of their request, in the script's order.
pub type Answers = Vec<(String, Value)>;

/// What the requests so far left behind.
struct Player<'a> {
    address: &'a str,
    connections: BTreeMap<String, RawConnection>,
    saved: BTreeMap<String, String>,
    normal: Normal,
    opaque: i32,
}

/// Plays a script to the broker at `address`.
pub fn play(address: &str, script: &[Request]) -> anyhow::Result<Answers> {
    let mut player = Player {
        address,
        connections: BTreeMap::new(),
        saved: BTreeMap::new(),
        normal: Normal::new()?,
        opaque: 1000,
    };
    let mut answers = Answers::new();
    for request in script {
        let answer = player.ask(request).with_context(|| request.name.clone())?;
        answers.push((request.name.clone(), answer));
    }
    Ok(answers)
}

impl Player<'_> {
    fn ask(&mut self, request: &Request) -> anyhow::Result<Value> {
        let Some((field, wanted)) = &request.until else {
            let answer = self.once(request)?;
            return self.keep(request, answer.as_ref());
        };
        let mut last = None;
        let what = format!("{field} to be {wanted}");
        let waited = wait_for(&what, UNTIL_TIMEOUT, || {
            last = self.once(request)?;
            let is_there = last
                .as_ref()
                .is_some_and(|answer| holds(answer, field, wanted));
            Ok(is_there.then_some(()))
        });
        // What it is instead is the difference that is wanted.
        if waited.is_err() {
            eprintln!("{}: waited in vain for {what}: {last:?}", request.name);
        }
        self.keep(request, last.as_ref())
    }

    fn keep(&mut self, request: &Request, answer: Option<&Answer>) -> anyhow::Result<Value> {
        for (name, field) in &request.saved {
            let Some(answer) = answer else { continue };
            let value = answer.fields[field.as_str()].as_str().unwrap_or_default();
            self.saved.insert(name.clone(), value.to_owned());
            // The last half of a message's id is its place in the log.
            let place = value
                .get(16..)
                .and_then(|hex| i64::from_str_radix(hex, 16).ok());
            let place = place.map_or_else(String::new, |place| place.to_string());
            self.saved.insert(format!("{name}.place"), place);
        }
        let mut value = match answer {
            Some(answer) => answer::to_value(answer, &self.normal)?,
            None => Value::from("no answer"),
        };
        match &request.look {
            Look::Everything => {}
            Look::Keys => answer::keep_keys(&mut value),
            Look::Members(names) => answer::keep_members(&mut value, names),
            Look::Code => answer::keep_code(&mut value),
        }
        Ok(value)
    }

    fn once(&mut self, request: &Request) -> anyhow::Result<Option<Answer>> {
        self.opaque += 1;
        let mut fields = Vec::new();
        for (key, value) in &request.fields {
            fields.push((key.as_str(), self.filled_in(value)));
        }
        let fields: Vec<_> = fields
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let frame = wire::request(request.code, self.opaque, &fields, &request.body);
        if !self.connections.contains_key(&request.connection) {
            let opened = RawConnection::open(self.address)?;
            self.connections.insert(request.connection.clone(), opened);
        }
        let connection = self
            .connections
            .get_mut(&request.connection)
            .context("it is there now")?;
        connection.send(&frame)?;
        if request.silent {
            connection.set_timeout(SILENCE)?;
            let answered = connection.receive().ok();
            connection.set_timeout(ANSWER_TIMEOUT)?;
            return Ok(answered);
        }
        loop {
            let answer = connection.receive()?;
            // The server's own requests, and late answers, are not what was asked for.
            if !answer.is_request && answer.opaque == i64::from(self.opaque) {
                return Ok(Some(answer));
            }
        }
    }

    fn filled_in(&self, value: &str) -> String {
        let mut value = value.to_owned();
        for (name, saved) in &self.saved {
            value = value.replace(&format!("{{{name}}}"), saved);
        }
        value
    }
}

fn holds(answer: &Answer, field: &str, wanted: &str) -> bool {
    if field == "code" {
        return answer.code.to_string() == wanted;
    }
    match field.strip_prefix("body.") {
        Some(path) => {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let member = body.pointer(&format!("/{}", path.replace('.', "/")));
            let number = member.and_then(Value::as_i64);
            let text = member.and_then(Value::as_str);
            text == Some(wanted) || number.is_some() && number == wanted.parse().ok()
        }
        None => answer.fields[field] == *wanted,
    }
}
