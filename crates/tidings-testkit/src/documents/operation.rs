//! An OpenAPI document as the judge of a request, and of the answer to it.

use super::{Answer, Request, schema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

/// The one operation of a document that was cut down to it.
#[derive(Clone, Debug)]
pub struct Operation {
    document: Value,
    path: String,
    method: String,
}

impl Operation {
    /// Reads a document, made strict.
    pub fn read(text: &str) -> Self {
        Self::of(serde_json::from_str(text).unwrap())
    }

    /// The operation of a document, made strict.
    pub fn of(mut document: Value) -> Self {
        if document["openapi"].as_str().unwrap().starts_with("3.0.") {
            write_null_out(&mut document);
        }
        close(&mut document);
        open_parts(&mut document);
        let (path, item) = document["paths"].as_object().unwrap().iter().next().unwrap();
        let mut words = item.as_object().unwrap().keys();
        // What is said there beside the operation is about every operation of the path.
        let method = words.find(|word| *word != "parameters").unwrap();
        Self {
            path: path.clone(),
            method: method.to_ascii_uppercase(),
            document,
        }
    }

    /// What is wrong with a request by the document; empty where it is right.
    pub fn faults(&self, request: &Request<'_>) -> Vec<String> {
        let mut faults = self.in_line(request);
        faults.extend(self.in_headers(request.headers));
        faults.extend(self.in_authorization(request.header("authorization")));
        faults.extend(self.in_body(request.header("content-type"), request.body));
        faults
    }

    /// What is wrong with an answer by the document.
    pub fn faults_of_answer(&self, answer: &Answer<'_>) -> Vec<String> {
        let known = &self.operation()["responses"][answer.status.to_string()];
        if known.is_null() {
            return vec![format!("the document knows no answer {}", answer.status)];
        }
        let content = &self.resolved(known)["content"];
        if content.is_null() {
            let body = (!answer.body.is_empty()).then(|| "a body where there is none".to_owned());
            return body.into_iter().collect();
        }
        self.in_content(content, answer.header("content-type"), answer.body)
    }

    /// The request bodies that the document shows, by their names.
    pub fn examples(&self) -> Vec<(&str, &Value)> {
        let content = &self.resolved(&self.operation()["requestBody"])["content"];
        let of_types = content.as_object().into_iter().flat_map(Map::values);
        of_types
            .filter_map(|kind| kind["examples"].as_object())
            .flatten()
            .map(|(name, example)| (name.as_str(), &example["value"]))
            .collect()
    }

    fn operation(&self) -> &Value {
        &self.document["paths"][&self.path][self.method.to_ascii_lowercase()]
    }

    /// The parameters that are in one place.
    fn parameters(&self, place: &str) -> impl Iterator<Item = &Value> {
        let of_path = &self.document["paths"][&self.path]["parameters"];
        [of_path, &self.operation()["parameters"]]
            .into_iter()
            .filter_map(Value::as_array)
            .flatten()
            .map(|parameter| self.resolved(parameter))
            .filter(move |parameter| parameter["in"] == place)
    }

    fn in_line(&self, request: &Request<'_>) -> Vec<String> {
        let Some((method, path, query)) = request.parts() else {
            return vec![format!("{} is no request", request.line)];
        };
        if method != self.method {
            return vec![format!("{method} instead of {}", self.method)];
        }
        // None of the operations has one.
        if let Some(query) = query {
            return vec![format!("a query: {query}")];
        }
        let given: Vec<&str> = path.split('/').collect();
        let wanted: Vec<&str> = self.path.split('/').collect();
        if given.len() != wanted.len() {
            return vec![format!("{path} is not {}", self.path)];
        }
        let pairs = wanted.iter().zip(given);
        pairs
            .flat_map(|(wanted, given)| {
                let name = wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
                match name.map(|name| self.parameters("path").find(|known| known["name"] == name)) {
                    None if *wanted == given => Vec::new(),
                    Some(Some(known)) => self.against(&known["schema"], &json!(given)),
                    _ => vec![format!("{given} instead of {wanted}")],
                }
            })
            .collect()
    }

    fn in_headers(&self, headers: &[(String, String)]) -> Vec<String> {
        let mut faults = Vec::new();
        for known in self.parameters("header") {
            let name = known["name"].as_str().unwrap();
            let given = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            match given {
                Some((_, value)) => faults.extend(self.against(&known["schema"], &json!(value))),
                None if known["required"] == true => faults.push(format!("the header {name} is missing")),
                None => {}
            }
        }
        faults
    }

    fn in_authorization(&self, given: Option<&str>) -> Option<String> {
        let wanted = self
            .operation()
            .get("security")
            .unwrap_or(&self.document["security"]);
        let name = wanted[0].as_object().unwrap().keys().next().unwrap();
        let scheme = &self.document["components"]["securitySchemes"][name];
        assert_eq!(scheme["type"], "http", "{name}");
        let (kind, secret) = given.and_then(|given| given.split_once(' ')).unwrap_or_default();
        let right = match scheme["scheme"].as_str() {
            Some("bearer") => kind == "Bearer" && !secret.is_empty(),
            Some("basic") => {
                let pair = STANDARD.decode(secret).unwrap_or_default();
                kind == "Basic" && pair.contains(&b':')
            }
            other => panic!("{other:?} is not known here"),
        };
        (!right).then(|| format!("the authorization is not {}", scheme["scheme"]))
    }

    fn in_body(&self, content_type: Option<&str>, body: &str) -> Vec<String> {
        let content = &self.resolved(&self.operation()["requestBody"])["content"];
        self.in_content(content, content_type, body)
    }

    fn in_content(&self, content: &Value, content_type: Option<&str>, body: &str) -> Vec<String> {
        let given = content_type.unwrap_or_default();
        let media_type = given.split(';').next().unwrap_or_default().trim();
        let Some(wanted) = content.get(media_type) else {
            return vec![format!("{given:?} is none of the types of the body")];
        };
        let schema = self.resolved(&wanted["schema"]);
        if media_type == "application/x-www-form-urlencoded" {
            let form = self.form(schema, body);
            let mut faults = self.against(schema, &Value::Object(form.clone()));
            faults.extend(self.missing_alternatives(&form));
            return faults;
        }
        match serde_json::from_str(body) {
            Ok(body) => self.against(schema, &body),
            Err(error) => vec![format!("the body is not JSON: {error}")],
        }
    }

    /// A form's fields as values of the types that the schema gives them; what is none of its type stays text.
    fn form(&self, schema: &Value, body: &str) -> Map<String, Value> {
        let mut form = Map::new();
        for (name, value) in form_urlencoded::parse(body.as_bytes()) {
            let known = self.resolved(&schema["properties"][name.as_ref()]);
            if known["type"] == "array" {
                let all = form.entry(name).or_insert_with(|| json!([]));
                let item = self.typed(&known["items"], &value);
                all.as_array_mut().unwrap().push(item);
                continue;
            }
            let value = self.typed(known, &value);
            if let Some(first) = form.insert(name.clone().into_owned(), value) {
                // A field that comes twice is a list, and a list is not what the schema says.
                form.insert(name.into_owned(), json!([first]));
            }
        }
        form
    }

    fn typed(&self, schema: &Value, text: &str) -> Value {
        let value = match self.resolved(schema)["type"].as_str() {
            Some("integer" | "number" | "boolean") => serde_json::from_str(text).ok(),
            _ => None,
        };
        value.unwrap_or_else(|| json!(text))
    }

    /// `x-twilio` names fields of which one must be there, in another spelling than the schema's.
    fn missing_alternatives(&self, form: &Map<String, Value>) -> Vec<String> {
        let groups = self.operation()["x-twilio"]["conditional"].as_array();
        groups
            .into_iter()
            .flatten()
            .filter(|group| {
                !form
                    .keys()
                    .any(|name| group.as_array().unwrap().contains(&json!(snake(name))))
            })
            .map(|group| format!("none of {group}"))
            .collect()
    }

    /// What a reference stands for.
    fn resolved<'s>(&'s self, node: &'s Value) -> &'s Value {
        match node["$ref"].as_str().and_then(|text| text.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).unwrap(),
            None => node,
        }
    }

    fn against(&self, schema: &Value, value: &Value) -> Vec<String> {
        let schema = match self.discriminated(schema, value) {
            Ok(schema) => schema,
            Err(fault) => return vec![fault],
        };
        // The references in the schema are pointers from the root of the document.
        let rooted = json!({ "allOf": [schema], "components": self.document["components"] });
        schema::faults(&rooted, value)
    }

    /// The one of several schemas that a field of the value names: what is wrong with the value is said of that one.
    fn discriminated<'s>(&'s self, schema: &'s Value, value: &Value) -> Result<&'s Value, String> {
        let discriminator = &self.resolved(schema)["discriminator"];
        let Some(name) = discriminator["propertyName"].as_str() else {
            return Ok(schema);
        };
        let word = value[name].as_str().unwrap_or_default();
        let pointer = discriminator["mapping"][word].as_str();
        let found = pointer.and_then(|text| self.document.pointer(text.strip_prefix('#')?));
        found.ok_or_else(|| format!("/{name}: {word:?} is none of the words for it"))
    }
}

/// `MediaUrl` is `media_url`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

/// Names that an object does not list are refused. The documents leave that open, and a misspelt field would pass.
///
/// The parts of an `allOf` are refused what none of them lists: a part that is closed by itself would refuse what the others ask for.
fn close(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            if let Some(Value::Array(parts)) = fields.get_mut("allOf") {
                parts.iter_mut().for_each(close);
                parts.iter_mut().for_each(open);
                fields.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
            } else if fields.get("properties").is_some_and(Value::is_object) {
                fields.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            let others = fields.iter_mut().filter(|(name, _)| *name != "allOf");
            others.for_each(|(_, value)| close(value));
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn open(part: &mut Value) {
    if let Value::Object(fields) = part {
        fields.remove("additionalProperties");
    }
}

/// The same for parts that are referred to.
fn open_parts(document: &mut Value) {
    let mut pointers = Vec::new();
    parts_elsewhere(document, &mut pointers);
    for pointer in pointers {
        document.pointer_mut(&pointer).into_iter().for_each(open);
    }
}

fn parts_elsewhere(node: &Value, pointers: &mut Vec<String>) {
    match node {
        Value::Object(fields) => {
            let parts = fields.get("allOf").and_then(Value::as_array);
            let references = parts
                .into_iter()
                .flatten()
                .filter_map(|part| part["$ref"].as_str()?.strip_prefix('#'));
            pointers.extend(references.map(str::to_owned));
            fields.values().for_each(|value| parts_elsewhere(value, pointers));
        }
        Value::Array(items) => items.iter().for_each(|item| parts_elsewhere(item, pointers)),
        _ => {}
    }
}

/// OpenAPI 3.0 says `nullable` where JSON Schema lists another type.
fn write_null_out(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            if fields.remove("nullable") == Some(Value::Bool(true))
                && let Some(Value::String(kind)) = fields.get("type").cloned()
            {
                fields.insert("type".to_owned(), json!([kind, "null"]));
            }
            fields.values_mut().for_each(write_null_out);
        }
        Value::Array(items) => items.iter_mut().for_each(write_null_out),
        _ => {}
    }
}

#[test]
fn documents_are_read_as_json_schema() {
    let mut schema =
        json!({ "a": { "type": "string", "nullable": true }, "b": { "type": "string", "nullable": false } });
    write_null_out(&mut schema);
    assert_eq!(
        schema,
        json!({ "a": { "type": ["string", "null"] }, "b": { "type": "string" } })
    );
    let mut schema = json!([{ "properties": { "a": { "properties": {}, "additionalProperties": true } } }]);
    close(&mut schema);
    assert_eq!(
        schema,
        json!([{ "properties": { "a": { "properties": {}, "additionalProperties": true } }, "additionalProperties": false }])
    );
    assert_eq!(snake("MessagingServiceSid"), "messaging_service_sid");
}

/// As Meta writes it: the second part forbids what the first one asks for.
#[test]
fn the_parts_of_a_whole_are_closed_together() {
    let mut document = json!({
        "base": { "properties": { "to": {} }, "required": ["to"] },
        "message": { "allOf": [{ "$ref": "#/base" }, { "properties": { "text": {} }, "additionalProperties": false }] },
        "allOf": [{ "$ref": "#/message" }],
    });
    close(&mut document);
    open_parts(&mut document);
    let judged = |value: Value| schema::faults(&document, &value);
    assert_eq!(judged(json!({ "to": "x", "text": "y" })), [""; 0]);
    assert!(judged(json!({ "to": "x", "txet": "y" }))[0].contains("txet"));
    assert!(judged(json!({ "text": "y" }))[0].contains("to"));
}
