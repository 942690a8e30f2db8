//! A service model of AWS (as botocore has it) as the judge of requests, and of the answers to them.
//!
//! Shapes become JSON Schema. What is read stricter than it is: patterns are of the whole text, and null is no value of any shape.

use super::{Answer, Request, schema};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

const JSON: &str = "application/json";

/// The operations of a model that was cut down to them.
#[derive(Clone, Debug)]
pub struct Model {
    model: Value,
    /// Every shape as a schema.
    shapes: Value,
}

impl Model {
    /// Reads a model.
    pub fn read(text: &str) -> Self {
        let model: Value = serde_json::from_str(text).unwrap();
        assert_eq!(model["metadata"]["protocol"], "rest-json");
        assert_eq!(model["metadata"]["signatureVersion"], "v4");
        let shapes = model["shapes"].as_object().unwrap().iter();
        let shapes = shapes
            .map(|(name, shape)| (name.clone(), as_schema(shape)))
            .collect();
        Self {
            model,
            shapes: Value::Object(shapes),
        }
    }

    /// What is wrong with a request by the model; empty where it is right.
    pub fn faults(&self, request: &Request<'_>) -> Vec<String> {
        let Some((method, path, query)) = request.parts() else {
            return vec![format!("{} is no request", request.line)];
        };
        // None of the operations has a variable in its path.
        let mut operations = self.model["operations"].as_object().unwrap().values();
        let Some(operation) = operations.find(|operation| {
            operation["http"]["method"] == method && operation["http"]["requestUri"] == path
        }) else {
            return vec![format!("{method} {path} is no operation")];
        };
        let input = self.shape(&operation["input"]);
        let mut faults = self.in_query(input, query.unwrap_or_default());
        faults.extend(self.in_body(input, request));
        faults.extend(self.in_authorization(request.header("authorization")));
        faults
    }

    /// What is wrong with the answer to an operation by the model.
    pub fn faults_of_answer(&self, operation: &str, answer: &Answer<'_>) -> Vec<String> {
        let operation = &self.model["operations"][operation];
        let media_type = answer.header("content-type");
        let mut faults: Vec<String> = not_json(media_type).into_iter().collect();
        let body: Value = match serde_json::from_str(answer.body) {
            Ok(body) => body,
            Err(error) => return vec![format!("the body is not JSON: {error}")],
        };
        if answer.status == 200 {
            faults.extend(self.against(&operation["output"]["shape"], &body));
            return faults;
        }
        let word = answer.header("x-amzn-errortype").unwrap_or_default();
        let mut known = operation["errors"].as_array().unwrap().iter();
        let Some(error) = known.find(|error| error["shape"] == word) else {
            faults.push(format!("{word:?} is no error of the operation"));
            return faults;
        };
        let wanted = &self.shape(error)["error"]["httpStatusCode"];
        if *wanted != answer.status {
            faults.push(format!("{word} with {} instead of {wanted}", answer.status));
        }
        // The shapes of errors leave out what the protocol gives to each.
        if body.as_object().is_none_or(|body| body.len() != 1) || !body["message"].is_string() {
            faults.push(format!("{body} is not a message alone"));
        }
        faults
    }

    /// The shape that something refers to.
    fn shape(&self, reference: &Value) -> &Value {
        &self.model["shapes"][reference["shape"].as_str().unwrap()]
    }

    fn against(&self, shape: &Value, value: &Value) -> Vec<String> {
        let shape = shape.as_str().unwrap();
        let rooted = json!({ "$ref": format!("#/$defs/{shape}"), "$defs": self.shapes });
        schema::faults(&rooted, value)
    }

    fn in_query(&self, input: &Value, query: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut given = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = members(input).find(|(_, member)| {
                member["location"] == "querystring" && member["locationName"].as_str() == Some(&*name)
            });
            let Some((member, reference)) = known else {
                faults.push(format!("{name} is nothing that is asked by"));
                continue;
            };
            let shape = self.shape(reference);
            let (shape, of) = if shape["type"] == "list" {
                (self.shape(&shape["member"]), &shape["member"]["shape"])
            } else {
                if given.contains(&member) {
                    faults.push(format!("{name} comes twice"));
                }
                (shape, &reference["shape"])
            };
            given.push(member);
            faults.extend(
                self.in_text(shape, of, &value)
                    .iter()
                    .map(|fault| format!("{name}{fault}")),
            );
        }
        let required = input["required"].as_array().into_iter().flatten();
        let missing = required
            .filter_map(Value::as_str)
            .filter(|name| input["members"][name]["location"] == "querystring" && !given.contains(name));
        faults.extend(missing.map(|name| format!("{name} is missing")));
        faults
    }

    /// A value of a query, where everything is text.
    fn in_text(&self, shape: &Value, name: &Value, text: &str) -> Vec<String> {
        let value = match shape["type"].as_str() {
            // As RFC 3339 has it, by the protocol; in a body it is a number.
            Some("timestamp") => {
                let right = text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok();
                let fault = (!right).then(|| format!(": {text} is no time"));
                return fault.into_iter().collect();
            }
            Some("string") => Some(json!(text)),
            _ => serde_json::from_str(text).ok(),
        };
        match value {
            Some(value) => self.against(name, &value),
            None => vec![format!(": {text} is no {}", shape["type"])],
        }
    }

    fn in_body(&self, input: &Value, request: &Request<'_>) -> Vec<String> {
        let in_body = |(_, member): (&str, &Value)| member.get("location").is_none();
        if !members(input).any(in_body) {
            let fault = (!request.body.is_empty()).then(|| "a body, where there is none".to_owned());
            return fault.into_iter().collect();
        }
        assert!(
            members(input).all(in_body),
            "a shape that is partly in the body is not known here"
        );
        let mut faults: Vec<String> = not_json(request.header("content-type")).into_iter().collect();
        match serde_json::from_str(request.body) {
            Ok(body) => faults.extend(schema::faults(
                &json!({ "allOf": [as_schema(input)], "$defs": self.shapes }),
                &body,
            )),
            Err(error) => faults.push(format!("the body is not JSON: {error}")),
        }
        faults
    }

    /// Signed for this service. Whether the signature is right is known to whoever has the secret.
    fn in_authorization(&self, given: Option<&str>) -> Option<String> {
        let service = self.model["metadata"]["signingName"].as_str().unwrap();
        let right = given
            .and_then(|given| given.strip_prefix("AWS4-HMAC-SHA256 Credential="))
            .and_then(|given| {
                let mut parts = given.split(", ");
                let scope: Vec<&str> = parts.next()?.split('/').collect();
                let [key, day, region, of, last] = scope[..] else {
                    return None;
                };
                let headers: Vec<&str> = parts.next()?.strip_prefix("SignedHeaders=")?.split(';').collect();
                let signature = parts.next()?.strip_prefix("Signature=")?;
                let whole = parts.next().is_none() && !key.is_empty() && !region.is_empty();
                let dated = day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit());
                let signed = signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_hexdigit());
                let host = headers.contains(&"host") && headers.is_sorted();
                Some(whole && dated && signed && host && of == service && last == "aws4_request")
            });
        (right != Some(true)).then(|| format!("the authorization is no signature for {service}"))
    }
}

fn not_json(media_type: Option<&str>) -> Option<String> {
    let given = media_type.unwrap_or_default();
    (given.split(';').next() != Some(JSON)).then(|| format!("{given:?} instead of {JSON}"))
}

fn members(shape: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = shape["members"].as_object().into_iter().flatten();
    members.map(|(name, member)| (name.as_str(), member))
}

/// A shape as a schema, in which others are referred to by their names.
fn as_schema(shape: &Value) -> Value {
    let of =
        |reference: &Value| json!({ "$ref": format!("#/$defs/{}", reference["shape"].as_str().unwrap()) });
    let mut schema = Map::new();
    let mut put = |word: &str, value: Value| {
        if !value.is_null() {
            schema.insert(word.to_owned(), value);
        }
    };
    match shape["type"].as_str().unwrap() {
        "structure" => {
            put("type", json!("object"));
            let members = members(shape).map(|(name, member)| (name.to_owned(), of(member)));
            put("properties", Value::Object(members.collect()));
            put("required", shape["required"].clone());
            put("additionalProperties", json!(false));
        }
        "list" => {
            put("type", json!("array"));
            put("items", of(&shape["member"]));
            put("minItems", shape["min"].clone());
            put("maxItems", shape["max"].clone());
        }
        "map" => {
            put("type", json!("object"));
            put("propertyNames", of(&shape["key"]));
            put("additionalProperties", of(&shape["value"]));
            put("minProperties", shape["min"].clone());
            put("maxProperties", shape["max"].clone());
        }
        "string" => {
            put("type", json!("string"));
            put("enum", shape["enum"].clone());
            put("minLength", shape["min"].clone());
            put("maxLength", shape["max"].clone());
            let pattern = shape["pattern"].as_str();
            put(
                "pattern",
                json!(pattern.map(|pattern| format!("^(?:{pattern})$"))),
            );
        }
        "blob" => {
            put("type", json!("string"));
            put("format", json!("base64"));
        }
        "boolean" => put("type", json!("boolean")),
        kind @ ("integer" | "long" | "float" | "double" | "timestamp") => {
            let whole = matches!(kind, "integer" | "long");
            // A time in a body is a number of seconds.
            put("type", json!(if whole { "integer" } else { "number" }));
            put("minimum", shape["min"].clone());
            put("maximum", shape["max"].clone());
        }
        other => panic!("the shape {other} is not known here"),
    }
    Value::Object(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of shape, also those that no operation of ours has.
    fn model() -> Model {
        Model::read(
            &json!({
                "metadata": { "protocol": "rest-json", "signatureVersion": "v4", "signingName": "x" },
                "operations": {},
                "shapes": {
                    "Whole": { "type": "structure", "required": ["Name"], "members": {
                        "Name": { "shape": "Name" }, "Names": { "shape": "Names" }, "Map": { "shape": "Map" },
                        "Data": { "shape": "Data" }, "At": { "shape": "At" }, "On": { "shape": "On" },
                        "Count": { "shape": "Count" }, "Word": { "shape": "Word" } } },
                    "Name": { "type": "string", "min": 2, "max": 4, "pattern": "[a-z]*" },
                    "Names": { "type": "list", "member": { "shape": "Name" }, "min": 1, "max": 2 },
                    "Map": { "type": "map", "key": { "shape": "Name" }, "value": { "shape": "Count" }, "max": 1 },
                    "Data": { "type": "blob" }, "At": { "type": "timestamp" }, "On": { "type": "boolean" },
                    "Count": { "type": "integer", "max": 9 }, "Word": { "type": "string", "enum": ["A", "B"] },
                },
            })
            .to_string(),
        )
    }

    #[test]
    fn every_kind_of_shape_is_judged() {
        let model = model();
        let right = json!({
            "Name": "abc", "Names": ["ab"], "Map": { "ab": 1 }, "Data": "AAEC", "At": 1_795_000_000.5, "On": true,
            "Count": 9, "Word": "A",
        });
        let faults = |value: &Value| model.against(&json!("Whole"), value);
        assert_eq!(faults(&right), [""; 0]);
        for (name, wrong) in [
            ("Name", json!("a")),
            ("Name", json!("abcde")),
            ("Name", json!("a1")),
            ("Names", json!([])),
            ("Names", json!(["ab", "ab", "ab"])),
            ("Names", json!("ab")),
            ("Map", json!({ "ab": "1" })),
            ("Map", json!({ "a": 1 })),
            ("Map", json!({ "ab": 1, "cd": 2 })),
            ("Data", json!("not base64")),
            ("At", json!("2026-11-20T10:00:00Z")),
            ("On", json!("true")),
            ("Count", json!(10)),
            ("Count", json!(1.5)),
            ("Word", json!("C")),
            ("Word", Value::Null),
            ("Wrod", json!("A")),
        ] {
            let mut value = right.clone();
            value[name] = wrong.clone();
            let faults = faults(&value);
            assert!(
                !faults.is_empty() && faults.iter().all(|fault| fault.contains(name)),
                "{name} {wrong}: {faults:?}"
            );
        }
        assert!(faults(&json!({}))[0].contains("Name"));
    }
}
