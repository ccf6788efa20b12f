//! The names of `mqadmin`'s everyday commands, and its options for them, so that what hands and scripts
//! know works: `thrustmq admin topicStatus -t orders` is `thrustmq admin topic stats orders`.

/// A command of `mqadmin`.
struct JavaCommand {
    name: &'static str,
    /// Our words for it, behind the program's name.
    ours: &'static str,
    /// Options whose values stand alone with us, in the order in which they stand; of two with `=`
    /// between, so do the values.
    positions: &'static [&'static str],
    /// Options that are called otherwise.
    options: &'static [(&'static str, &'static str)],
    /// Options with a value that says what we do anyway.
    dropped: &'static [&'static str],
}

const fn command(
    name: &'static str,
    ours: &'static str,
    positions: &'static [&'static str],
) -> JavaCommand {
    JavaCommand {
        name,
        ours,
        positions,
        options: &[],
        dropped: &[],
    }
}

const COMMANDS: &[JavaCommand] = &[
    command("clusterList", "admin cluster list", &[]),
    command("topicList", "admin topic list", &[]),
    command("topicRoute", "admin topic route", &["-t"]),
    command("topicClusterList", "admin topic route", &["-t"]),
    command("topicStatus", "admin topic stats", &["-t"]),
    command("deleteTopic", "admin topic delete", &["-t"]),
    command("updateTopicPerm", "admin topic permission", &["-t", "-p"]),
    JavaCommand {
        options: &[("-a", "--active")],
        ..command("statsAll", "admin topic rates", &["-t"])
    },
    JavaCommand {
        options: &[("-r", "-q"), ("-w", "-q")],
        ..command("updateTopic", "admin topic create", &["-t"])
    },
    JavaCommand {
        options: &[("-r", "--retries-max")],
        ..command("updateSubGroup", "admin group create", &["-g"])
    },
    JavaCommand {
        dropped: &["-r"],
        ..command("deleteSubGroup", "admin group delete", &["-g"])
    },
    command("getConsumerConfig", "admin group config", &["-g"]),
    command("consumerProgress", "admin group lag", &["-g"]),
    command("consumerConnection", "admin group members", &["-g"]),
    JavaCommand {
        options: &[("-s", "--stack")],
        ..command("consumerStatus", "admin group info", &["-g", "-i"])
    },
    JavaCommand {
        options: &[("-s", "--to")],
        dropped: &["-f"],
        ..command("resetOffsetByTime", "admin group reset", &["-g", "-t"])
    },
    JavaCommand {
        dropped: &["-f"],
        ..command(
            "skipAccumulatedMessage",
            "admin group reset --to now",
            &["-g", "-t"],
        )
    },
    JavaCommand {
        dropped: &["-o"],
        ..command("cloneGroupOffset", "admin group clone", &["-s", "-d"])
    },
    JavaCommand {
        options: &[("-q", "--shared-by")],
        dropped: &["-c", "-b"],
        ..command("setConsumeMode", "admin group mode", &["-g", "-t", "-m"])
    },
    JavaCommand {
        dropped: &["-b", "-t", "-l", "-o"],
        ..command("brokerConsumeStats", "admin group lag", &[])
    },
    command("producerConnection", "admin topic producers", &["-t", "-g"]),
    command("producer", "admin broker producers", &["-b"]),
    command("brokerStatus", "admin broker info", &["-b"]),
    command("getBrokerConfig", "admin broker config", &["-b"]),
    command("updateBrokerConfig", "admin broker set", &["-b", "-k=-v"]),
    command("haStatus", "admin broker replication", &["-b"]),
    command(
        "cleanExpiredCQ",
        "admin broker clean expired-queues",
        &["-b"],
    ),
    command(
        "cleanUnusedTopic",
        "admin broker clean unused-topics",
        &["-b"],
    ),
    command(
        "deleteExpiredCommitLog",
        "admin broker clean expired-files",
        &["-b"],
    ),
    command("getNamesrvConfig", "admin namesrv config", &[]),
    command("updateNamesrvConfig", "admin namesrv set", &["-k=-v"]),
    command("updateKvConfig", "admin namesrv put", &["-s", "-k", "-v"]),
    command("deleteKvConfig", "admin namesrv remove", &["-s", "-k"]),
    command("wipeWritePerm", "admin namesrv wipe", &["-b"]),
    command("addWritePerm", "admin namesrv unwipe", &["-b"]),
    command("queryMsgById", "admin message get", &["-i"]),
    command("queryMsgByKey", "admin message find", &["-t", "-k"]),
    command("queryMsgByUniqueKey", "admin message find", &["-t", "-i"]),
    command(
        "queryMsgByOffset",
        "admin message at",
        &["-t", "-b", "-i", "-o"],
    ),
    JavaCommand {
        options: &[("-t", "--trace-topic")],
        ..command("queryMsgTraceById", "admin message trace", &["-i"])
    },
    JavaCommand {
        options: &[("-b", "--since"), ("-e", "--until"), ("-s", "--tags")],
        dropped: &["-c", "-d"],
        ..command("printMsg", "admin message list", &["-t"])
    },
    JavaCommand {
        options: &[("-s", "--since"), ("-e", "--until"), ("-c", "--limit")],
        ..command("consumeMessage", "admin message list", &["-t"])
    },
    JavaCommand {
        options: &[("-k", "--key"), ("-c", "--tag")],
        ..command("sendMessage", "produce", &["-t", "-p"])
    },
];

/// `admin`, of what, and what.
const VERB_WORDS: usize = 3;

/// The long names of options that many commands have.
const LONG_OPTIONS: &[(&str, &str)] = &[
    ("--brokerAddr", "-b"),
    ("--brokerName", "-b"),
    ("--clusterName", "-c"),
    ("--groupName", "-g"),
    ("--namesrvAddr", "-n"),
    ("--topic", "-t"),
];

/// The arguments with a command of `mqadmin` said in our words. Others stay as they are.
pub(crate) fn translated(arguments: Vec<String>) -> Vec<String> {
    let [program, admin, name, rest @ ..] = &arguments[..] else {
        return arguments;
    };
    let command = COMMANDS.iter().find(|command| command.name == name);
    let Some(command) = command.filter(|_| admin == "admin") else {
        return arguments;
    };
    let ours: Vec<String> = command.ours.split(' ').map(str::to_owned).collect();
    let words = rest.iter().map(|word| short(word).to_owned()).collect();
    let mut words = Words { words };
    let positions = command.positions.iter();
    let values: Vec<String> = positions
        .filter_map(|option| match option.split_once('=') {
            Some((key, value)) => Some(format!("{}={}", words.take(key)?, words.take(value)?)),
            None => words.take(option),
        })
        .collect();
    for option in command.dropped {
        words.take(option);
    }
    words.rename(command.options);
    // What a command says besides the verb, such as what is cleaned, comes behind the values.
    let (verb, own) = ours.split_at(ours.len().min(VERB_WORDS));
    let program = std::slice::from_ref(program);
    [program, verb, &values, own, &words.words].concat()
}

fn short(word: &str) -> &str {
    let known = LONG_OPTIONS.iter().find(|(long, _)| *long == word);
    known.map_or(word, |(_, short)| short)
}

/// Options and values that were not understood yet.
struct Words {
    words: Vec<String>,
}

impl Words {
    /// The value of an option, which is taken out.
    fn take(&mut self, option: &str) -> Option<String> {
        let at = self.words.iter().position(|word| word == option)?;
        let mut taken = self.words.drain(at..(at + 2).min(self.words.len()));
        taken.nth(1)
    }

    /// Calls options as we do; one that is then there twice stays once, with its first value: read and
    /// write queues are one number with us.
    fn rename(&mut self, names: &[(&str, &str)]) {
        for (java, ours) in names {
            if self.words.iter().any(|word| word == ours) {
                self.take(java);
            }
            for word in self.words.iter_mut().filter(|word| *word == java) {
                *word = (*ours).to_owned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::Arguments;

    fn said(line: &str) -> String {
        translated(line.split(' ').map(str::to_owned).collect()).join(" ")
    }

    #[test]
    fn what_mqadmin_is_told_is_understood() {
        for (java, ours) in [
            (
                "topicStatus -n a:1 -t orders",
                "admin topic stats orders -n a:1",
            ),
            ("topicStatus --topic orders", "admin topic stats orders"),
            (
                "updateTopic -c C -t orders -r 4 -w 4",
                "admin topic create orders -c C -q 4",
            ),
            (
                "queryMsgByKey -k 4711 -t orders",
                "admin message find orders 4711",
            ),
            (
                "updateBrokerConfig -b a:1 -k x -v 2",
                "admin broker set a:1 x=2",
            ),
            (
                "cleanExpiredCQ -b a:1",
                "admin broker clean a:1 expired-queues",
            ),
            (
                "skipAccumulatedMessage -g g -t t -f true",
                "admin group reset g t --to now",
            ),
            (
                "cloneGroupOffset -s a -d b -t t -o true",
                "admin group clone a b -t t",
            ),
            (
                "sendMessage -t t -p text -k key -c TagA",
                "produce t text --key key --tag TagA",
            ),
            (
                "consumerStatus -g g -i id -s",
                "admin group info g id --stack",
            ),
        ] {
            assert_eq!(
                said(&format!("thrustmq admin {java}")),
                format!("thrustmq {ours}")
            );
        }
        for as_it_is in [
            "thrustmq admin topic list",
            "thrustmq broker -n a",
            "thrustmq",
        ] {
            assert_eq!(said(as_it_is), as_it_is);
        }
    }

    /// Every name leads to a command that there is.
    #[test]
    fn every_name_is_one_of_our_commands() {
        for command in COMMANDS {
            let mut words = vec!["thrustmq".to_owned(), "admin".to_owned()];
            words.push(command.name.to_owned());
            for option in command
                .positions
                .iter()
                .flat_map(|option| option.split('='))
            {
                let value = if option == "-m" { "POP" } else { "1" };
                words.extend([option.to_owned(), value.to_owned()]);
            }
            if command.name == "resetOffsetByTime" {
                words.extend(["-s".to_owned(), "now".to_owned()]);
            }
            let ours = translated(words);
            let parsed = Arguments::try_parse_from(&ours);
            assert!(
                parsed.is_ok(),
                "{}: {ours:?}: {:?}",
                command.name,
                parsed.err()
            );
        }
    }

    /// The row of `docs/admin.md` about a command.
    fn row(command: &JavaCommand) -> String {
        let mut definition = &Arguments::command();
        for word in command.ours.split(' ') {
            definition = definition.find_subcommand(word).unwrap_or(definition);
        }
        let values = definition.get_positionals().filter(|value| {
            let is_said = |word| {
                value
                    .get_possible_values()
                    .iter()
                    .any(|one| one.matches(word, true))
            };
            value.is_required_set() && !command.ours.split(' ').any(is_said)
        });
        let values = values.map(|value| format!(" {}", value.get_id().as_str().to_uppercase()));
        let values: String = values.collect();
        let said: Vec<&str> = command.ours.split(' ').collect();
        let (verb, own) = said.split_at(said.len().min(VERB_WORDS));
        let own: String = own.iter().map(|word| format!(" {word}")).collect();
        format!("| `{}` | `{}{values}{own}` |", command.name, verb.join(" "))
    }

    #[test]
    fn the_documentation_lists_every_name() {
        let documentation = include_str!("../../../docs/admin.md");
        let rows: Vec<String> = COMMANDS.iter().map(row).collect();
        let missing = rows.iter().filter(|row| !documentation.contains(*row));
        let missing: Vec<_> = missing.map(String::as_str).collect();
        assert!(
            missing.is_empty(),
            "docs/admin.md lacks:\n{}",
            missing.join("\n")
        );
    }
}
