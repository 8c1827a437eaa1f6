-- What the lab's PostgreSQL has before a release: some rows of each product, as the user shop.
CREATE SCHEMA IF NOT EXISTS arbor;
CREATE SCHEMA IF NOT EXISTS kumori;
CREATE SCHEMA IF NOT EXISTS shared;
CREATE TABLE IF NOT EXISTS arbor.agents (id bigint PRIMARY KEY, name text NOT NULL);
CREATE TABLE IF NOT EXISTS kumori.images (id bigint PRIMARY KEY, prompt text NOT NULL);
CREATE TABLE IF NOT EXISTS shared.heartbeat (id int PRIMARY KEY, at timestamptz NOT NULL);
INSERT INTO arbor.agents SELECT n, 'agent-' || n FROM generate_series(1, 1000) n ON CONFLICT DO NOTHING;
INSERT INTO kumori.images SELECT n, 'a tree, number ' || n FROM generate_series(1, 2000) n ON CONFLICT DO NOTHING;
INSERT INTO shared.heartbeat VALUES (1, now()) ON CONFLICT (id) DO UPDATE SET at = now();
