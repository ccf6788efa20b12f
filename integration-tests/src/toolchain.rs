//! Finds and prepares what the tests run: our binary, the Java programs with Apache's jars, the Go program, valgrind.
//!
//! Each is prepared once a process. A missing foreign toolchain is a printed reason to skip, unless
//! THRUSTMQ_PEERS=required.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use anyhow::Context;

/// The directory of the foreign programs.
fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// The `thrustmq` binary of the profile under test, built by cargo; or another one, by THRUSTMQ_BINARY.
pub fn thrustmq() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build_thrustmq().expect("the tests need our binary"))
}

fn build_thrustmq() -> anyhow::Result<PathBuf> {
    if let Ok(binary) = env::var("THRUSTMQ_BINARY") {
        return Ok(binary.into());
    }
    let test = env::current_exe()?;
    let profile = test
        .parent()
        .and_then(Path::parent)
        .context("the test stands in target/<profile>/deps")?;
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "-p", "thrustmq-cli"]);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    run(build)?;
    Ok(profile.join("thrustmq"))
}

/// Crates that handle messages: those whose instructions are counted.
const COUNTED: [&str; 4] = ["proto-compat", "store", "remoting", "broker"];

/// The `thrustmq` binary whose instructions are counted, or another one, by THRUSTMQ_COUNTED.
///
/// The crates that handle messages are compiled as for a release. What they depend on is shared with the
/// tests' build, where it is optimised too: a whole release build takes minutes. So counts are some
/// percent above those of a release.
pub fn counted_thrustmq() -> anyhow::Result<PathBuf> {
    if let Ok(binary) = env::var("THRUSTMQ_COUNTED") {
        return Ok(binary.into());
    }
    let test = env::current_exe()?;
    let target = test
        .ancestors()
        .nth(3)
        .context("the test stands in target/<profile>/deps")?;
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "-p", "thrustmq-cli", "--target-dir"]);
    build.arg(target.join("counted"));
    for name in COUNTED {
        for setting in [
            "opt-level=3",
            "codegen-units=16",
            "debug-assertions=false",
            "overflow-checks=false",
        ] {
            let setting = format!("profile.dev.package.thrustmq-{name}.{setting}");
            build.args(["--config", &setting]);
        }
    }
    build
        .env("CARGO_BUILD_BUILD_DIR", target)
        .env("CARGO_INCREMENTAL", "0")
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    run(build)?;
    Ok(target.join("counted/debug/thrustmq"))
}

/// Valgrind; None where there is none.
pub fn valgrind() -> Option<&'static Path> {
    static USABLE: OnceLock<Result<(), String>> = OnceLock::new();
    let usable = USABLE.get_or_init(|| {
        let mut version = Command::new("valgrind");
        version.arg("--version");
        run(version).map_err(|e| format!("{e:#}"))
    });
    available("valgrind", usable)?;
    Some(Path::new("valgrind"))
}

/// Which of Apache's Java clients a program runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JavaClient {
    /// 4.9.8, without servers.
    Four,
    /// 5.5.0, and the servers of that version.
    Five,
}

/// A command that runs a Java class with Apache's jars; None where there is no Java.
pub fn java(heap_mb: u32) -> Option<Command> {
    java_with(JavaClient::Five, heap_mb)
}

/// The same with the jars of one of the versions.
pub fn java_with(client: JavaClient, heap_mb: u32) -> Option<Command> {
    static FOUR: OnceLock<Result<String, String>> = OnceLock::new();
    static FIVE: OnceLock<Result<String, String>> = OnceLock::new();
    let prepared = match client {
        JavaClient::Four => FOUR.get_or_init(|| prepare(&JAVA_FOUR)),
        JavaClient::Five => FIVE.get_or_init(|| prepare(&JAVA_FIVE)),
    };
    let class_path = available("Java", prepared)?;
    let mut command = Command::new("java");
    command
        .args(OPENED_FOR_STORE)
        .arg(format!("-Xmx{heap_mb}m"))
        .args(["-XX:+UseSerialGC", "-XX:MaxDirectMemorySize=1g", "-cp"])
        .arg(class_path);
    Some(command)
}

/// Where the sources, jars and classes of one version are, under peers/java.
struct JavaFiles {
    pom: &'static str,
    sources: [&'static str; 2],
    libraries: &'static str,
    fetched: &'static str,
    classes: &'static str,
}

const JAVA_FIVE: JavaFiles = JavaFiles {
    pom: "pom.xml",
    sources: ["src-any", "src"],
    libraries: "target/lib",
    fetched: "target/fetched-by-pom.xml",
    classes: "target/classes",
};

const JAVA_FOUR: JavaFiles = JavaFiles {
    pom: "pom-4.xml",
    sources: ["src-any", "src-4"],
    libraries: "target/lib-4",
    fetched: "target/fetched-by-pom-4.xml",
    classes: "target/classes-4",
};

/// What the Java broker's store needs to see of the JDK 17.
const OPENED_FOR_STORE: [&str; 4] = [
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
];

fn prepare(files: &JavaFiles) -> Result<String, String> {
    prepare_java(files).map_err(|e| format!("{e:#}"))
}

fn prepare_java(files: &JavaFiles) -> anyhow::Result<String> {
    let directory = peers().join("java");
    let fetched = directory.join(files.fetched);
    let pom = fs::read(directory.join(files.pom))?;
    if fs::read(&fetched).ok().as_ref() != Some(&pom) {
        let mut maven = Command::new("mvn");
        maven
            .args(["-q", "-B", "-f", files.pom, "dependency:copy-dependencies"])
            .arg(format!("-DoutputDirectory={}", files.libraries))
            .arg("-DincludeScope=runtime")
            .current_dir(&directory);
        run(maven)?;
        fs::write(&fetched, &pom)?;
    }
    let classes = directory.join(files.classes);
    fs::create_dir_all(&classes)?;
    let jars = format!("{}/*", directory.join(files.libraries).display());
    let mut compiler = Command::new("javac");
    compiler
        .args(["-nowarn", "--release", "17", "-cp", &jars, "-d"])
        .arg(&classes);
    for folder in files.sources {
        for source in fs::read_dir(directory.join(folder))? {
            compiler.arg(source?.path());
        }
    }
    run(compiler)?;
    Ok(format!("{}:{jars}", classes.display()))
}

/// The Go program; None where there is no Go.
pub fn go() -> Option<Command> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let prepared = PROGRAM.get_or_init(|| prepare_go().map_err(|e| format!("{e:#}")));
    available("Go", prepared).map(Command::new)
}

fn prepare_go() -> anyhow::Result<PathBuf> {
    let directory = peers().join("go");
    let program = directory.join("target/peer");
    let mut build = Command::new("go");
    build
        .args(["build", "-o", "target/peer", "."])
        .current_dir(&directory);
    run(build)?;
    Ok(program)
}

fn available<'a, T>(toolchain: &str, prepared: &'a Result<T, String>) -> Option<&'a T> {
    match prepared {
        Ok(prepared) => Some(prepared),
        Err(reason) => {
            let required = env::var("THRUSTMQ_PEERS").is_ok_and(|value| value == "required");
            assert!(!required, "{toolchain} is required: {reason}");
            let thread = thread::current();
            let test = thread.name().unwrap_or_default();
            // Straight to stderr: the test harness hides what tests that pass print.
            let line = format!("skipped {test}: {toolchain} is not usable here: {reason}\n");
            io::stderr().write_all(line.as_bytes()).ok();
            None
        }
    }
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
