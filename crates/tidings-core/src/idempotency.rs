//! What a request is, byte for byte: input of the fingerprint that binds an idempotency key to its body.
//!
//! Two bodies that differ only in the order of keys and in blanks are the same request. The store hashes the bytes.

use serde_json::Value;

/// Leads every input; a change of the form gets a new number.
const FORM: &[u8] = b"tidings.request.1";

/// The bytes of a request: the form, the operation (`POST /v1/messages`) and the canonical body, parted by zero bytes.
pub fn fingerprint_input(operation: &str, body: &Value) -> Vec<u8> {
    let mut bytes = FORM.to_vec();
    bytes.push(0);
    bytes.extend_from_slice(operation.as_bytes());
    bytes.push(0);
    write(body, &mut bytes);
    bytes
}

/// JSON with sorted keys and no blanks. Numbers stay as written: `1` and `1.0` differ.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

/// Recursion is bounded by the parser: serde_json refuses more than 128 levels.
fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            bytes.push(b'[');
            for (index, item) in items.iter().enumerate() {
                separate(index, bytes);
                write(item, bytes);
            }
            bytes.push(b']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            bytes.push(b'{');
            for (index, (key, item)) in sorted.into_iter().enumerate() {
                separate(index, bytes);
                write_text(key, bytes);
                bytes.push(b':');
                write(item, bytes);
            }
            bytes.push(b'}');
        }
        Value::String(text) => write_text(text, bytes),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            bytes.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

fn separate(index: usize, bytes: &mut Vec<u8>) {
    if index > 0 {
        bytes.push(b',');
    }
}

fn write_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(Value::from(text).to_string().as_bytes());
}
