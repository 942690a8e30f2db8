-- What Meta last said, account by account, of the approved template that a template version is bound to. Whether it may be used
-- then is a rule of the program.
CREATE FUNCTION whatsapp_standings(tenant uuid, bound jsonb) RETURNS text[]
    LANGUAGE sql STABLE AS $$
    SELECT ARRAY(SELECT w.standing FROM whatsapp_templates w
                 WHERE w.tenant_id = tenant AND w.name = bound ->> 'name' AND w.language = bound ->> 'language')
$$;
