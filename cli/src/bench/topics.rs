//! A load spread over several topics: their names differ in the digits at their ends, so that one
//! template makes the requests to all of them.

use super::template::{Place, Template};

/// More than there can be topics in a run.
const DIGITS: usize = 5;

/// The names of `count` topics; of one, the name itself.
pub(super) fn names(topic: &str, count: u16) -> Vec<String> {
    match count {
        0 | 1 => vec![topic.to_owned()],
        _ => (0..count)
            .map(|number| format!("{topic}-{number:0DIGITS$}"))
            .collect(),
    }
}

/// Where a template has the number of its topic.
#[derive(Debug)]
pub(super) struct TopicPlaces(Vec<Place>);

impl TopicPlaces {
    /// Of a template that was made with the topic `name`.
    pub(super) fn new(template: &Template, name: &str) -> Self {
        Self(match number(name) {
            Some(_) => template.ends_of(name, DIGITS),
            None => Vec::new(),
        })
    }

    /// Turns the template to another of the topics.
    pub(super) fn put(&self, template: &mut Template, number: u64) {
        for place in &self.0 {
            template.put_decimal(*place, number);
        }
    }
}

/// The number in a topic's name; `None` if the name is not one of several.
pub(super) fn number(name: &str) -> Option<u64> {
    let (_, digits) = name.rsplit_once('-')?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_topics_have_numbers_and_one_has_none() {
        assert_eq!(names("t", 1), ["t"]);
        assert_eq!(names("t", 3), ["t-00000", "t-00001", "t-00002"]);
        let numbers = ["t-00017", "t", "t-17", "t-00x17"].map(number);
        assert_eq!(numbers, [Some(17), None, None, None]);
    }
}
