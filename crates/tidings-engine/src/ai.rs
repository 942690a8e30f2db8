//! A tenant's language model: its settings from the store, and the way to it over the one egress client.

use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use std::time::Duration;
use tidings_ai::{GivenModelSettings, ModelAnswer, ModelCall, ModelSettings, Transport, TransportError};
use tidings_core::word_enum;
use tidings_providers::egress::{Egress, EgressFailure, EgressRequest};
use tidings_store::{StoreError, TenantTx, models};

/// The client's own limit lies this far beyond the call's, so that the call's is the one that ends it.
const SLACK: Duration = Duration::from_secs(1);

word_enum! {
    /// Why no model was asked, or no longer waited for: the words are the template's.
    pub enum NotAsked {
        /// The tenant has no model. Simulations have none either.
        NotConfigured = "ai_not_configured",
        /// Its model is switched off.
        SwitchedOff = "ai_switched_off",
        /// What is stored of the model cannot be used.
        SettingsUnusable = "ai_settings_unusable",
        /// Nothing is written that tells a model about this message type.
        NoPrompt = "ai_no_prompt",
        /// The message does not go by e-mail.
        NotEmail = "ai_not_email",
        /// The run has made its drafts.
        Limit = "ai_limit",
        /// The page has had its time.
        TimeLimit = "ai_time_limit",
        /// Several calls in a row failed.
        ModelDown = "ai_model_down",
    }
}

/// The model of the transaction's tenant.
pub(crate) async fn open(tx: &mut TenantTx) -> Result<Result<ModelSettings, NotAsked>, StoreError> {
    let Some((stored, key)) = models::open(tx).await? else {
        return Ok(Err(NotAsked::NotConfigured));
    };
    if !stored.enabled {
        return Ok(Err(NotAsked::SwitchedOff));
    }
    let given =
        serde_json::from_value::<GivenModelSettings>(stored.settings).map_err(|error| error.to_string());
    let settings = given.and_then(|given| ModelSettings::new(given, key).map_err(|error| error.to_string()));
    Ok(settings.map_err(|problem| {
        tracing::warn!(tenant = %tx.tenant(), problem, "the stored model cannot be used; apply it again");
        NotAsked::SettingsUnusable
    }))
}

/// Calls models over the egress client: its address filters hold, whatever a tenant names.
#[derive(Clone, Debug)]
pub(crate) struct EgressTransport(pub Egress);

#[async_trait]
impl Transport for EgressTransport {
    async fn post_json(&self, call: ModelCall) -> Result<ModelAnswer, TransportError> {
        let url = self
            .0
            .url(&call.url)
            .map_err(|error| TransportError::Forbidden(error.to_string()))?;
        let mut request = EgressRequest::post(url, "application/json", call.body)
            .response_limit(call.max_body_bytes)
            .timeout(call.timeout.saturating_add(SLACK));
        for (name, value) in call.headers {
            request = request
                .secret_header(name, value.expose_secret())
                .map_err(failure)?;
        }
        let answer = tokio::time::timeout(call.timeout, self.0.call(request))
            .await
            .map_err(|_| TransportError::TimedOut)?
            .map_err(failure)?;
        Ok(ModelAnswer {
            status: answer.status,
            headers: answer.headers,
            body: answer.body.to_vec(),
            cut: answer.cut,
        })
    }
}

fn failure(failure: EgressFailure) -> TransportError {
    match failure {
        EgressFailure::Forbidden(why) => TransportError::Forbidden(why),
        EgressFailure::NotSent(why) => TransportError::NotSent(why),
        EgressFailure::Unanswered(why) => TransportError::Broken(why),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use secrecy::SecretString;
    use tidings_ai::stand_in::{ModelServer, Reply};
    use tidings_providers::egress::EgressPolicy;

    fn call(server: &ModelServer, timeout_ms: u64) -> ModelCall {
        ModelCall {
            url: format!("{}/v1/chat/completions", server.url()),
            headers: vec![("authorization", SecretString::from("Bearer sk-1"))],
            body: br#"{"messages":[]}"#.to_vec(),
            timeout: Duration::from_millis(timeout_ms),
            max_body_bytes: 1000,
        }
    }

    async fn post(policy: EgressPolicy, call: ModelCall) -> Result<ModelAnswer, TransportError> {
        EgressTransport(Egress::new(policy).unwrap())
            .post_json(call)
            .await
    }

    #[tokio::test]
    async fn an_address_that_the_operator_does_not_allow_is_not_called() {
        let server = ModelServer::start([Reply::Empty]);
        let refused = post(EgressPolicy::default(), call(&server, 5000))
            .await
            .unwrap_err();
        assert!(matches!(refused, TransportError::Forbidden(_)), "{refused}");
        assert!(server.received().is_empty());
    }

    #[tokio::test]
    async fn the_calls_own_limit_holds_and_not_that_of_the_client() {
        let server = ModelServer::start([Reply::Silence]);
        let policy = EgressPolicy {
            total_timeout: Duration::from_millis(50),
            ..EgressPolicy::for_stand_ins()
        };
        let begun = std::time::Instant::now();
        let error = post(policy, call(&server, 400)).await.unwrap_err();
        assert_eq!(error, TransportError::TimedOut);
        assert!(begun.elapsed() >= Duration::from_millis(400));
    }

    #[tokio::test]
    async fn answers_are_cut_and_failures_are_told_apart() {
        let allowed = EgressPolicy::for_stand_ins;
        let server = ModelServer::start([Reply::Huge, Reply::Close]);
        let answer = post(allowed(), call(&server, 5000)).await.unwrap();
        assert!(answer.status == 200 && answer.cut && answer.body.len() == 1000);
        let sent = server.received();
        assert_eq!(sent[0].header("authorization"), Some("Bearer sk-1"));
        assert_eq!(sent[0].header("content-type"), Some("application/json"));
        let broken = post(allowed(), call(&server, 5000)).await.unwrap_err();
        assert!(matches!(broken, TransportError::Broken(_)), "{broken}");
        let nobody = call(&server, 5000);
        drop(server);
        let error = post(allowed(), nobody).await.unwrap_err();
        assert!(
            matches!(error, TransportError::NotSent(_) | TransportError::Broken(_)),
            "{error}"
        );
    }
}
