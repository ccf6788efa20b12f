use super::*;

/// What Java's `AclClientRPCHook` (5.5.0) added to four requests: a line with the request's code, then
/// its fields in order, then its body in hexadecimal.
const JAVA: &str = include_str!("java.txt");

fn requests() -> Vec<Command> {
    let mut requests: Vec<Command> = Vec::new();
    for line in JAVA.lines() {
        if let Some((_, code)) = line.split_once(" code=") {
            requests.push(Command::new(code.parse().unwrap()));
            continue;
        }
        let request = requests.last_mut().unwrap();
        match line.split_once('=').unwrap() {
            ("body", hex) => request.body = bytes(hex).into(),
            (name, value) => request.fields.push_text(name, value),
        }
    }
    requests
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn plain() -> Credentials {
    Credentials::new("RocketMQ", "12345678")
}

#[test]
fn signatures_are_javas() {
    let with_token = Credentials::new("用户", "密钥 with spaces").security_token("token/+=");
    let users = [plain(), with_token, plain(), plain()];
    let requests = requests();
    assert_eq!(requests.len(), users.len());
    for (signed, user) in requests.iter().zip(users) {
        let mut unsigned = signed.clone();
        for added in [ACCESS_KEY, SECURITY_TOKEN, SIGNATURE] {
            unsigned.fields.remove(added);
        }
        // Fields come in any order.
        let fields: Vec<_> = unsigned.fields.iter().collect();
        let mut request = Command::new(signed.code).with_body(signed.body.to_bytes());
        for (name, value) in fields.into_iter().rev() {
            request.fields.push_text(name, value);
        }
        user.sign(&mut request);
        for name in [ACCESS_KEY, SECURITY_TOKEN, SIGNATURE] {
            assert_eq!(request.fields.get(name), signed.fields.get(name), "{name}");
        }
    }
}

#[test]
fn a_request_that_is_sent_again_is_signed_again() {
    let mut request = Command::new(1);
    request.fields.push_text("topic", "t");
    plain().sign(&mut request);
    let first = request.fields.get(SIGNATURE).unwrap().to_owned();
    plain().sign(&mut request);
    assert_eq!(request.fields.get(SIGNATURE), Some(first.as_str()));
    assert_eq!(request.fields.len(), 3);
}

#[test]
fn a_body_in_pieces_is_signed_as_a_whole() {
    let mut whole = Command::new(1).with_body(b"abcdef".to_vec());
    let mut pieces = Command::new(1);
    pieces.body = Body::Many(vec!["abc".into(), "def".into()]);
    plain().sign(&mut whole);
    plain().sign(&mut pieces);
    assert_eq!(whole.fields.get(SIGNATURE), pieces.fields.get(SIGNATURE));
}

#[test]
fn keys_of_every_length_make_the_mac_of_the_library() {
    for length in [0, 1, 63, 64, 65, 200] {
        let key = "k".repeat(length);
        let user = Credentials::new("u", &key);
        let request = Command::new(1).with_body(b"content".to_vec());
        let wanted = hmac_sha1_compact::HMAC::mac(b"content", key.as_bytes());
        assert_eq!(
            user.signature(&request),
            STANDARD.encode(wanted),
            "{length}"
        );
    }
}
