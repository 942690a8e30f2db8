-- Less work a message, with the same guarantees.
--
-- A row that refers to a message, delivery or contact by (tenant_id, id) refers to its tenant through it: the second
-- reference, straight to `tenants`, was checked for every row and locked the one row that all writers of a tenant share.
alter table messages drop constraint messages_tenant_id_fkey;
alter table message_contents drop constraint message_contents_tenant_id_fkey;
alter table decisions drop constraint decisions_tenant_id_fkey;
alter table deliveries drop constraint deliveries_tenant_id_fkey;
alter table attempts drop constraint attempts_tenant_id_fkey;
alter table provider_messages drop constraint provider_messages_tenant_id_fkey;
alter table unknown_deliveries drop constraint unknown_deliveries_tenant_id_fkey;
alter table batches drop constraint batches_tenant_id_fkey;

-- A mail of usual size is a few kilobytes once compressed and sealed: it stays in its row instead of in slices of two
-- kilobytes beside it, each with an index entry. Larger ones still go beside it.
alter table message_contents set (toast_tuple_target = 8128);
alter table sandbox_messages set (toast_tuple_target = 8128);
-- Facts and reasons of a decision are read rarely and written always: small ones are not worth compressing.
alter table decisions set (toast_tuple_target = 4080);
