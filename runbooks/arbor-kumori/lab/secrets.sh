# Sourced before a run in the lab: made-up values of every secret. LAB_PORT is the lab's, as for runbooks/lab/lab.
port=${LAB_PORT:-15400}
export DATABASE_PASSWORD=lab-shop BACKUP_PGPASS="127.0.0.1:$((port + 1)):shop:shop:lab-shop"
export DATABASE_URL="postgresql://shop:lab-shop@127.0.0.1:$((port + 1))/shop" SHADOW_DATABASE_URL="postgresql://shop:lab-shop@127.0.0.1:$((port + 1))/shadow"
export STAGING_DATABASE_URL="postgresql://shop:lab-shop@127.0.0.1:$((port + 2))/shop" SECONDARY_DATABASE_PASSWORD=lab-shop
export NEON_API_KEY=lab-neon-key VERCEL_TOKEN=lab-vercel-token SENTRY_AUTH_TOKEN=lab-sentry-token REPLICATE_API_TOKEN=lab-replicate-token
export CLOUDFLARE_API_TOKEN=lab-cloudflare-token DNS_KEY=bGFiLWtleS1mb3ItdGhlLWxhYi1vbmx5LTMyYnl0ZXM=
export AWS_ACCESS_KEY_ID=lab-r2-key-id AWS_SECRET_ACCESS_KEY=lab-r2-secret-key
