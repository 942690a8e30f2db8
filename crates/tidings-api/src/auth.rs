//! Who calls: an API key, its tenant, and whether it may do this.
//!
//! The middleware reads the scope an operation asks for from the OpenAPI document, so what is documented is what is
//! enforced. A handler gets the tenant only from [`Caller`], never from a body, query or path.

use crate::ApiState;
use crate::openapi::Requirements;
use crate::problem::{Answer, Problem};
use crate::scope::Scope;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use std::sync::Arc;
use tidings_core::{ApiKeyId, TenantId};
use uuid::Uuid;

/// Names the tenant an operator's key acts for.
pub const TENANT_HEADER: HeaderName = HeaderName::from_static("tidings-tenant");

/// The longest token that is looked at.
const TOKEN_MAX: usize = 200;

/// What the middleware enforces with.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    state: ApiState,
    requirements: Arc<Requirements>,
}

impl Gate {
    /// A gate that enforces what the document says.
    pub(crate) fn new(state: ApiState, document: &utoipa::openapi::OpenApi) -> Self {
        Self {
            state,
            requirements: Arc::new(Requirements::read(document)),
        }
    }
}

/// A known key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The key.
    pub key: ApiKeyId,
    /// Its tenant; none for an operator's key.
    pub tenant: Option<TenantId>,
    /// What it may do.
    pub scopes: Arc<[String]>,
}

impl Identity {
    /// An operator's key with `tenants:admin` may do everything, for any tenant.
    fn is_operator(&self) -> bool {
        self.tenant.is_none() && self.grants(Scope::TenantsAdmin)
    }

    fn grants(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|granted| scope.covered_by(granted))
    }

    /// Whether it may do what needs the scope. `tenants:admin` in a tenant's own key means nothing.
    pub fn may(&self, scope: Scope) -> bool {
        match (scope, self.tenant) {
            (Scope::TenantsAdmin, Some(_)) => false,
            _ => self.is_operator() || self.grants(scope),
        }
    }

    /// Whether it may hand the word on: nobody grants what they do not have.
    pub fn may_grant(&self, word: &str) -> bool {
        let mut covered = Scope::ALL
            .iter()
            .filter(|scope| scope.covered_by(word))
            .peekable();
        covered.peek().is_some() && covered.all(|scope| *scope != Scope::TenantsAdmin && self.may(*scope))
    }
}

/// Who calls, and for which tenant.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenant everything happens in.
    pub tenant: TenantId,
    /// The key.
    pub identity: Identity,
}

impl Caller {
    /// Who it was, for the audit log.
    pub fn actor(&self) -> String {
        format!("api-key:{}", self.identity.key)
    }
}

/// An operator, for what belongs to no tenant.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The key.
    pub identity: Identity,
}

impl Operator {
    /// Who it was, for the audit log.
    pub fn actor(&self) -> String {
        format!("api-key:{}", self.identity.key)
    }
}

/// Lets a request through to its handler when its key carries the operation's scope.
pub(crate) async fn authenticate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match admit(&gate, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn admit(gate: &Gate, request: &mut Request) -> Answer<()> {
    let scope = required(
        &gate.requirements,
        request.method(),
        request.extensions().get::<MatchedPath>(),
    );
    let identity = identify(&gate.state, request.headers()).await?;
    let Some(scope) = scope else {
        // A method the path does not have: the router answers 405 after this, no handler runs.
        return Ok(());
    };
    if !identity.may(scope) {
        let detail = format!("it lacks the scope {scope}");
        return Err(Problem::forbidden("auth.scope", detail));
    }
    if scope == Scope::TenantsAdmin {
        request.extensions_mut().insert(Operator { identity });
        return Ok(());
    }
    let tenant = tenant_of(&gate.state, &identity, request.headers()).await?;
    request.extensions_mut().insert(Caller { tenant, identity });
    Ok(())
}

fn required(requirements: &Requirements, method: &Method, path: Option<&MatchedPath>) -> Option<Scope> {
    requirements.of(method, path?.as_str())
}

async fn identify(state: &ApiState, headers: &HeaderMap) -> Answer<Identity> {
    let token = bearer(headers).ok_or_else(Problem::unauthenticated)?;
    state
        .identity_of(&token)
        .await?
        .ok_or_else(Problem::unauthenticated)
}

fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let right =
        scheme.eq_ignore_ascii_case("bearer") && token.starts_with("tdg_") && token.len() <= TOKEN_MAX;
    right.then(|| SecretString::from(token.to_owned()))
}

async fn tenant_of(state: &ApiState, identity: &Identity, headers: &HeaderMap) -> Answer<TenantId> {
    let named = headers
        .get(TENANT_HEADER)
        .map(|value| value.to_str().unwrap_or_default());
    match (identity.tenant, named) {
        (Some(own), None) => Ok(own),
        // The same answer whether the named tenant exists or not.
        (Some(own), Some(named)) if named == own.to_string() => Ok(own),
        (Some(_), Some(_)) => Err(Problem::forbidden(
            "auth.tenant",
            "it belongs to another tenant; leave Tidings-Tenant out",
        )),
        (None, None) => Err(Problem::forbidden(
            "auth.tenant_missing",
            "an operator's key belongs to no tenant; name one by its id in the header Tidings-Tenant",
        )),
        (None, Some(named)) => {
            let id = named.parse::<Uuid>().map_err(|_| {
                Problem::invalid_field(
                    "#header/Tidings-Tenant",
                    "value.invalid",
                    "the id of a tenant (a UUID)",
                )
            })?;
            Ok(state.known_tenant(TenantId(id)).await?.id)
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(Problem::unauthenticated)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(Problem::unauthenticated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(tenant: Option<TenantId>, scopes: &[&str]) -> Identity {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Identity {
            key: ApiKeyId(Uuid::nil()),
            tenant,
            scopes,
        }
    }

    #[test]
    fn a_tenants_key_never_becomes_an_operators() {
        let tenant = identity(Some(TenantId(Uuid::nil())), &["tenants:admin", "messages:*"]);
        assert!(!tenant.may(Scope::TenantsAdmin) && !tenant.may(Scope::ContactsRead));
        assert!(tenant.may(Scope::MessagesRead));
        let operator = identity(None, &["tenants:admin"]);
        assert!(Scope::ALL.iter().all(|scope| operator.may(*scope)));
        assert!(!identity(None, &["messages:read"]).may(Scope::MessagesWrite));
    }

    #[test]
    fn nobody_grants_what_they_do_not_have() {
        let key = identity(
            Some(TenantId(Uuid::nil())),
            &["messages:read", "contacts:*", "keys:admin"],
        );
        assert!(
            key.may_grant("messages:read") && key.may_grant("contacts:*") && key.may_grant("contacts:write")
        );
        assert!(
            !key.may_grant("messages:*") && !key.may_grant("tenants:admin") && !key.may_grant("nonsense")
        );
    }

    #[test]
    fn only_a_bearer_token_of_our_form_is_looked_up() {
        let read = |value: &'static str| {
            bearer(&HeaderMap::from_iter([(
                header::AUTHORIZATION,
                header::HeaderValue::from_static(value),
            )]))
            .is_some()
        };
        assert!(read("Bearer tdg_abc") && read("bearer tdg_abc"));
        assert!(!read("Basic tdg_abc") && !read("tdg_abc") && !read("Bearer abc") && !read("Bearer"));
    }
}
