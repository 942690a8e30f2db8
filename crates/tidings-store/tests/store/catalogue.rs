//! The catalogue proves tenancy for every table there is, of whatever migration.

use crate::world::world;
use sqlx::{PgPool, Row as _};

/// Tables without tenant data, and who may write them: never the API's role.
const GLOBAL: &[&str] = &[
    "_sqlx_migrations",
    "schema_settings",
    "master_key_check",
    "job_leases",
    "job_arrivals",
    "queue_guard",
    "queue_nodes",
    "rate_store",
];

/// Unique indexes that do not begin with the tenant, each with its reason.
const UNIQUE_ACROSS_TENANTS: &[(&str, &str)] = &[
    ("tenants_pkey", "the tenant's own id"),
    (
        "tenants_slug_key",
        "the operator names tenants; tenants cannot insert",
    ),
    ("api_keys_pkey", "random id"),
    (
        "api_keys_prefix_key",
        "random, and looked up before the tenant is known",
    ),
    (
        "communication_jobs_pkey",
        "bigint of one sequence: the public contract of the queue",
    ),
    (
        "mail_addresses_one_holder",
        "mail names an address and no tenant: one tenant holds it",
    ),
];

const OWN: &str = "(tenant_id = (NULLIF(current_setting('app.tenant'::text, true), ''::text))::uuid)";
const NOT_THE_API: &str = "(CURRENT_USER <> 'tidings_app'::name)";
const OWN_TENANT: &str = "(id = (NULLIF(current_setting('app.tenant'::text, true), ''::text))::uuid)";
const PRESENTED: &str = "(prefix = NULLIF(current_setting('app.api_key_prefix'::text, true), ''::text))";

async fn names(pool: &PgPool, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn every_table_is_walled_or_out_of_the_apis_reach() {
    let world = world().await;
    let pool = world.owner();
    let rows = sqlx::query(
        "SELECT c.relname::text AS name, c.relrowsecurity AND c.relforcerowsecurity AS walled,
                EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped) AS of_tenant,
                has_table_privilege('tidings_app', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS app_writes,
                has_table_privilege('tidings_app', c.oid, 'SELECT') AS app_reads,
                has_table_privilege('tidings_app', c.oid, 'TRUNCATE') OR has_table_privilege('tidings_worker', c.oid, 'TRUNCATE') AS truncates
         FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(rows.len() > 20, "{} tables", rows.len());
    for row in rows {
        let name: String = row.get("name");
        assert!(!row.get::<bool, _>("truncates"), "{name} can be truncated");
        if GLOBAL.contains(&name.as_str()) {
            assert!(
                !row.get::<bool, _>("app_writes"),
                "{name} is global but the API may write it"
            );
            let readable = row.get::<bool, _>("app_reads");
            assert!(
                !(readable && row.get::<bool, _>("of_tenant")),
                "{name} is readable across tenants"
            );
        } else {
            assert!(
                row.get::<bool, _>("walled"),
                "{name} lacks FORCE ROW LEVEL SECURITY"
            );
            assert!(
                row.get::<bool, _>("of_tenant") || name == "tenants",
                "{name} has no tenant_id; add it or list it as global"
            );
        }
    }
}

#[tokio::test]
async fn every_policy_is_the_known_one() {
    let world = world().await;
    let rows = sqlx::query(
        "SELECT p.polrelid::regclass::text AS name, p.polname::text AS policy, p.polcmd::text AS command, p.polpermissive AS permissive,
                ARRAY(SELECT coalesce(r.rolname::text, 'public') FROM unnest(p.polroles) AS m (id) LEFT JOIN pg_roles r ON r.oid = m.id) AS roles,
                pg_get_expr(p.polqual, p.polrelid) AS reads, pg_get_expr(p.polwithcheck, p.polrelid) AS writes
         FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&world.owner())
    .await
    .unwrap();
    let mut of_app = std::collections::BTreeSet::new();
    let mut of_worker = std::collections::BTreeSet::new();
    for row in rows {
        let name: String = row.get("name");
        let policy: String = row.get("policy");
        let roles: Vec<String> = row.get("roles");
        let reads: Option<String> = row.get("reads");
        let writes: Option<String> = row.get("writes");
        match (policy.as_str(), roles.as_slice()) {
            ("one_tenant", [role]) if role == "tidings_app" => {
                let own = if name == "tenants" { OWN_TENANT } else { OWN };
                assert_eq!(
                    (reads.as_deref(), writes.as_deref()),
                    (Some(own), Some(own)),
                    "{name}"
                );
                assert_eq!(row.get::<String, _>("command"), "*", "{name}");
                of_app.insert(name);
            }
            ("all_tenants", [role]) if role == "tidings_worker" => {
                of_worker.insert(name);
            }
            ("presented_read" | "presented_mark", [role]) if role == "tidings_app" && name == "api_keys" => {
                assert_eq!(reads.as_deref(), Some(PRESENTED));
                assert!(writes.is_none_or(|writes| writes == PRESENTED));
            }
            // Other programs, under roles that were granted something here; never the API's.
            ("other_programs", [role]) if role == "public" && name == "communication_jobs" => {
                assert_eq!(
                    (reads.as_deref(), writes.as_deref()),
                    (Some(NOT_THE_API), Some(NOT_THE_API))
                );
            }
            _ => panic!("unknown policy {policy} on {name} for {roles:?}"),
        }
    }
    let walled = names(
        &world.owner(),
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relrowsecurity ORDER BY 1",
    )
    .await;
    assert_eq!(
        walled.iter().cloned().collect::<std::collections::BTreeSet<_>>(),
        of_app
    );
    assert_eq!(of_app, of_worker);
}

#[tokio::test]
async fn unique_indexes_begin_with_the_tenant() {
    let world = world().await;
    let rows = sqlx::query(
        "SELECT t.relname::text AS name, x.relname::text AS index FROM pg_index i
         JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
         LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
         WHERE t.relnamespace = 'public'::regnamespace AND i.indisunique AND a.attname IS DISTINCT FROM 'tenant_id'",
    )
    .fetch_all(&world.owner())
    .await
    .unwrap();
    for row in rows {
        let (name, index): (String, String) = (row.get("name"), row.get("index"));
        let known = UNIQUE_ACROSS_TENANTS.iter().any(|(known, _)| *known == index);
        assert!(
            known || GLOBAL.contains(&name.as_str()),
            "{index} on {name} is an oracle across tenants"
        );
    }
    let keyless = names(
        &world.owner(),
        "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
         AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p')",
    )
    .await;
    assert_eq!(
        keyless,
        ["job_tallies"],
        "tables without a primary key; only the append-only tallies need none"
    );
}

#[tokio::test]
async fn foreign_keys_carry_the_tenant() {
    let world = world().await;
    let loose = names(
        &world.owner(),
        "SELECT k.conrelid::regclass::text || '.' || k.conname FROM pg_constraint k
         WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace
           AND NOT EXISTS (
               SELECT FROM unnest(k.conkey, k.confkey) AS pair (here, there)
               JOIN pg_attribute h ON h.attrelid = k.conrelid AND h.attnum = pair.here
               JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = pair.there
               WHERE h.attname = 'tenant_id'
                 AND (t.attname = 'tenant_id' OR (k.confrelid = 'tenants'::regclass AND t.attname = 'id')))",
    )
    .await;
    assert_eq!(
        loose,
        Vec::<String>::new(),
        "foreign keys that accept another tenant's row"
    );
}

#[tokio::test]
async fn functions_and_views_do_not_step_over_the_wall() {
    let world = world().await;
    let unpinned = names(
        &world.owner(),
        "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
         AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS setting WHERE setting LIKE 'search_path=%')",
    )
    .await;
    assert_eq!(
        unpinned,
        Vec::<String>::new(),
        "SECURITY DEFINER functions without a pinned search_path"
    );
    let reachable = names(
        &world.owner(),
        "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
         AND has_function_privilege('tidings_app', p.oid, 'EXECUTE')",
    )
    .await;
    assert_eq!(
        reachable,
        Vec::<String>::new(),
        "SECURITY DEFINER functions the API may call"
    );
    let views = names(
        &world.owner(),
        "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
         AND (c.relkind = 'm' OR c.relkind = 'v'
              AND NOT coalesce(c.reloptions, '{}') && ARRAY['security_invoker=true', 'security_invoker=on'])",
    )
    .await;
    assert_eq!(views, Vec::<String>::new(), "views that read as their owner");
}

#[tokio::test]
async fn the_roles_are_weak() {
    let world = world().await;
    let strong = names(
        &world.owner(),
        "SELECT rolname::text FROM pg_roles WHERE rolname IN ('tidings_app', 'tidings_worker')
         AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolcanlogin)",
    )
    .await;
    assert_eq!(strong, Vec::<String>::new());
    let owned = names(
        &world.owner(),
        "SELECT c.relname::text FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
         WHERE c.relnamespace = 'public'::regnamespace AND r.rolname LIKE 'tidings_%'",
    )
    .await;
    assert_eq!(owned, Vec::<String>::new(), "an owner could switch the wall off");
    for (table, role, rights) in [
        ("audit_log", "tidings_app", "UPDATE, DELETE"),
        ("audit_log", "tidings_worker", "UPDATE, DELETE"),
        ("consents", "tidings_app", "UPDATE, DELETE"),
        ("consents", "tidings_worker", "UPDATE, DELETE"),
        ("event_log", "tidings_app", "UPDATE, DELETE"),
        ("event_log", "tidings_worker", "UPDATE"),
        ("tenant_keys", "tidings_app", "INSERT, UPDATE, DELETE"),
        (
            "master_key_check",
            "tidings_app",
            "SELECT, INSERT, UPDATE, DELETE",
        ),
    ] {
        let held: bool = sqlx::query_scalar("SELECT has_table_privilege($1, $2, $3)")
            .bind(role)
            .bind(table)
            .bind(rights)
            .fetch_one(&world.owner())
            .await
            .unwrap();
        assert!(!held, "{role} holds one of {rights} on {table}");
    }
}
