//! Templates and connections.

use crate::support::TestApi;
use axum::http::Method;
use serde_json::json;

#[tokio::test]
async fn a_template_is_drafted_published_and_archived() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let draft = json!({"message_type": "welcome", "channel": "sms", "format": "text", "body": "Hello {{ client_name }}"});
    let kept = api.post(key, "/v1/templates", draft.clone()).await.expect(201);
    assert_eq!((&kept["state"], &kept["version"]), (&json!("draft"), &json!(1)));
    let path = format!("/v1/templates/{}", kept["id"].as_str().unwrap());
    let published = api
        .call(key, Method::POST, &format!("{path}/publish"), None)
        .await
        .expect(200);
    assert_eq!(published["state"], "published");
    let next = api.post(key, "/v1/templates", draft).await.expect(201);
    assert_eq!(next["version"], 2);
    let only = api
        .get(key, "/v1/templates?state=published&channel=sms")
        .await
        .expect(200);
    assert_eq!(only["items"].as_array().unwrap().len(), 1);
    let archived = api
        .call(key, Method::POST, &format!("{path}/archive"), None)
        .await
        .expect(200);
    assert_eq!(archived["state"], "archived");
    assert_eq!(api.get(key, &path).await.expect(200)["state"], "archived");
}

#[tokio::test]
async fn a_template_with_a_mistake_is_refused_with_its_place() {
    let api = TestApi::new().await;
    let draft = json!({"message_type": "welcome", "channel": "sms", "format": "text", "body": "Hello\n{{ client_name"});
    let reply = api.post(&api.ann.key, "/v1/templates", draft).await;
    reply.wrong("/body", "template.invalid");
    assert!(
        reply.json()["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("line 2"),
        "{:?}",
        reply.json()
    );
    assert_eq!(
        api.get(&api.ann.key, "/v1/templates").await.expect(200)["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_connections_credentials_go_in_and_never_come_out() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let body = json!({
        "name": "mail", "provider": "sandbox", "channel": "email", "settings": {}, "credentials": {"webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    });
    let made = api.post(key, "/v1/connections", body.clone()).await.expect(201);
    assert_eq!(made["has_credentials"], true);
    api.post(key, "/v1/connections", body)
        .await
        .problem(409, "conflict");
    let path = format!("/v1/connections/{}", made["id"].as_str().unwrap());
    let changed = api
        .patch(
            key,
            &path,
            json!({"enabled": false, "rate_limit": {"limit": 5, "per_ms": 1000}}),
        )
        .await
        .expect(200);
    assert_eq!(
        (&changed["enabled"], &changed["has_credentials"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(changed["rate_limit"]["limit"], 5);
    let cleared = api
        .patch(key, &path, json!({"rate_limit": null}))
        .await
        .expect(200);
    assert!(cleared["rate_limit"].is_null());
    for path in ["/v1/connections", path.as_str()] {
        let reply = api.get(key, path).await;
        assert!(!String::from_utf8_lossy(&reply.body).contains("MfKQ9r8"));
    }
    api.delete(key, &path).await.expect(204);
    api.get(key, &path).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_drill_breaks_a_connection_and_ends() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let body = json!({"name": "mail", "provider": "sandbox", "channel": "email", "call_limit_ms": 1500});
    let made = api.post(key, "/v1/connections", body).await.expect(201);
    assert_eq!(
        (
            &made["breaker"],
            &made["share_percent"],
            &made["limits"]["call_ms"]
        ),
        (&json!("closed"), &json!(100), &json!(1500))
    );
    let path = format!("/v1/connections/{}", made["id"].as_str().unwrap());
    let drill = format!("{path}/drill");
    let broken = api
        .post(key, &drill, json!({"action": "break", "for_seconds": 30}))
        .await
        .expect(200);
    assert_eq!(
        (&broken["breaker"], &broken["breaker_cause"]),
        (&json!("open"), &json!("drill"))
    );
    assert!(broken["next_probe_at"].is_string() && broken["breaker_since"].is_string());
    let list = api.get(key, "/v1/connections").await.expect(200);
    assert_eq!(list["items"][0]["breaker_cause"], "drill");
    let restored = api
        .post(key, &drill, json!({"action": "restore"}))
        .await
        .expect(200);
    assert_eq!(restored["breaker"], "closed");
    api.post(key, &drill, json!({"action": "restore"}))
        .await
        .problem(409, "conflict");
    for seconds in [0, 3601] {
        api.post(key, &drill, json!({"action": "break", "for_seconds": seconds}))
            .await
            .wrong("/for_seconds", "value.invalid");
    }
    let short = api.patch(key, &path, json!({"call_limit_ms": 99})).await;
    short.wrong("/call_limit_ms", "value.invalid");
    let cleared = api
        .patch(key, &path, json!({"call_limit_ms": null}))
        .await
        .expect(200);
    assert!(cleared["call_limit_ms"].is_null());
    let other = api.post(&api.bob.key, &drill, json!({"action": "break"})).await;
    other.problem(404, "not_found");
}

/// A sender's own address takes mail for one tenant; whoever comes later is told so and changes nothing.
#[tokio::test]
async fn a_senders_address_takes_mail_for_one_tenant() {
    let api = TestApi::new().await;
    let relay = |name: &str, from: &str| {
        json!({"name": name, "provider": "smtp", "channel": "email",
            "settings": {"host": "127.0.0.1", "tls": "none", "from_email": from, "reply_domain": "mail.shop.example"},
            "credentials": {"bounce_key": "a bounce key of some length"}})
    };
    let path = "/v1/connections";
    let first = relay("relay", "hello@mail.shop.example");
    let made = api.post(&api.ann.key, path, first.clone()).await.expect(201);
    let problem = api
        .post(&api.bob.key, path, first.clone())
        .await
        .problem(409, "conflict");
    assert!(
        problem["detail"].as_str().unwrap().contains("another tenant"),
        "{problem}"
    );
    // Another address at the same domain is free, and what its holder removes is, too.
    api.post(&api.bob.key, path, relay("own", "bob@mail.shop.example"))
        .await
        .expect(201);
    let gone = format!("{path}/{}", made["id"].as_str().unwrap());
    api.call(&api.ann.key, Method::DELETE, &gone, None)
        .await
        .expect(204);
    api.post(&api.bob.key, path, first).await.expect(201);
}
