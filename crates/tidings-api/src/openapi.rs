//! The OpenAPI 3.1 document, made from the handlers, and what the router enforces from it.
//!
//! The scopes an operation asks for stand once, in its `security`; the authentication middleware reads them from
//! here. An operation that is not in the document, or has no scope there, cannot be reached with a key at all.

use crate::scope::Scope;
use axum::http::Method;
use std::collections::HashMap;
use std::str::FromStr;
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

/// The name of the security scheme in the document.
pub const SCHEME: &str = "api_key";

/// The document without its operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidings",
        description = "Decides who should hear what, when and on which channel, gets it there, and can say why.\n\n\
            Every operation of this document takes an API key as `Authorization: Bearer tdg_...`; a key belongs to one \
            tenant and carries scopes. An operator's key belongs to no tenant and names one in the `Tidings-Tenant` header.\n\n\
            Every refusal is a problem (RFC 9457) with a stable `code`. Ids of other tenants answer exactly like ids \
            that do not exist. Unknown fields are refused. Lists are paged with cursors: send `next_cursor` back as \
            `cursor` until it is null.\n\n\
            Times are UTC in RFC 3339. Nothing is sent twice: repeat a request with its `Idempotency-Key` whenever \
            its answer was lost.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "messages", description = "One communication to one contact: decided, sent, tracked, explained"),
        (name = "contacts", description = "People who can be reached, their addresses, preferences and consents"),
        (name = "suppressions", description = "Addresses that must not be written to, and why"),
        (name = "templates", description = "Versioned content for a message type, channel and locale"),
        (name = "connections", description = "Accounts at providers; credentials go in and never come out"),
        (name = "queue", description = "What waits, what is given up, what nobody knows the outcome of"),
        (name = "alerts", description = "What is wrong, who was told of it, and what they want to be told"),
        (name = "analytics", description = "What became of deliveries, counted from the ledger"),
        (name = "sandbox", description = "What the sandbox captured instead of sending, and answers as the customer"),
        (name = "keys", description = "API keys of a tenant"),
        (name = "tenants", description = "Companies whose customers are written to (operator)"),
        (name = "compatibility", description = "Paths that integrations of earlier systems call"),
    ),
    components(schemas(crate::problem::Problem)),
    modifiers(&Security)
)]
pub(crate) struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scopes: Vec<String> = Scope::ALL
            .iter()
            .map(|scope| format!("`{}`", scope.as_str()))
            .collect();
        let description = format!("An API key. Scopes: {}", scopes.join(", "));
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("tdg_...")
            .description(Some(description));
        if let Some(components) = document.components.as_mut() {
            components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme.build()));
        }
    }
}

/// Adds to every operation the refusals all of them share, so that no handler repeats them.
/// Called on the whole document, when the operations are in it.
pub(crate) fn complete(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let has_id = path.contains('{');
        for operation in operations_mut(item) {
            let has_body = operation.request_body.is_some();
            let keyed = !scopes(operation).is_empty();
            let mut shared = vec![("default", "Any other refusal, as a problem")];
            if keyed {
                shared.extend([
                    ("401", "No valid API key"),
                    ("403", "The key lacks the scope, or names no tenant"),
                ]);
            }
            if has_id {
                shared.extend([
                    ("404", "Nothing under that id for this tenant"),
                    ("400", "The path or body cannot be read"),
                ]);
            }
            if has_body {
                shared.extend([
                    ("400", "The body cannot be read"),
                    ("413", "The body is too large"),
                    ("415", "The body is not JSON"),
                    ("422", "A field is not valid; `errors` says which"),
                ]);
            }
            for (status, description) in shared {
                let response = || RefOr::T(problem_response(description));
                operation
                    .responses
                    .responses
                    .entry(status.to_owned())
                    .or_insert_with(response);
            }
        }
    }
}

fn problem_response(description: &str) -> utoipa::openapi::Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content(crate::problem::MEDIA_TYPE, content)
        .build()
}

fn operations_mut(item: &mut utoipa::openapi::PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ]
    .into_iter()
    .flatten()
}

/// The scopes an operation names in its security requirement.
fn scopes(operation: &Operation) -> Vec<String> {
    let Some(requirements) = &operation.security else {
        return Vec::new();
    };
    let json = serde_json::to_value(requirements).unwrap_or_default();
    let list = json.as_array().into_iter().flatten();
    list.filter_map(|one| one.get(SCHEME)?.as_array().cloned())
        .flatten()
        .filter_map(|word| Some(word.as_str()?.to_owned()))
        .collect()
}

/// What every operation asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requirements {
    scopes: HashMap<(Method, String), Scope>,
}

impl Requirements {
    /// Reads the scopes from the document. An unknown scope word is a mistake of ours and fails the router's tests.
    pub(crate) fn read(document: &utoipa::openapi::OpenApi) -> Self {
        let mut found = HashMap::new();
        for (path, item) in &document.paths.paths {
            for method in [
                HttpMethod::Get,
                HttpMethod::Put,
                HttpMethod::Post,
                HttpMethod::Delete,
                HttpMethod::Patch,
            ] {
                let Some((method, operation)) = operation(item, &method) else {
                    continue;
                };
                if let Some(scope) = scopes(operation)
                    .first()
                    .and_then(|word| Scope::from_str(word).ok())
                {
                    found.insert((method, path.clone()), scope);
                }
            }
        }
        Self { scopes: found }
    }

    /// The scope the operation asks for; none when the document does not know the operation.
    pub(crate) fn of(&self, method: &Method, path: &str) -> Option<Scope> {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        self.scopes.get(&(method.clone(), path.to_owned())).copied()
    }
}

fn operation<'a>(
    item: &'a utoipa::openapi::PathItem,
    method: &HttpMethod,
) -> Option<(Method, &'a Operation)> {
    let (method, operation) = match method {
        HttpMethod::Get => (Method::GET, &item.get),
        HttpMethod::Put => (Method::PUT, &item.put),
        HttpMethod::Post => (Method::POST, &item.post),
        HttpMethod::Delete => (Method::DELETE, &item.delete),
        _ => (Method::PATCH, &item.patch),
    };
    operation.as_ref().map(|operation| (method, operation))
}
