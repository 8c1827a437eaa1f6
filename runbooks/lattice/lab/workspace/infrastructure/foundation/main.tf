# The lab's foundation: what the providers would make is only remembered.
variable "environment" { type = string }
variable "scale" { type = string }
variable "region" { type = string }

resource "terraform_data" "vpc" { input = "lattice-${var.environment}-${var.region}" }
resource "terraform_data" "postgres" { input = { engine = "pg", size = var.scale, vpc = terraform_data.vpc.output } }
resource "terraform_data" "redis" { input = { engine = "redis", size = var.scale, vpc = terraform_data.vpc.output } }
resource "terraform_data" "workers" { input = { droplets = var.scale == "large" ? 4 : 2, vpc = terraform_data.vpc.output } }
resource "terraform_data" "balancer" { input = { pools = ["pool-today", "pool-digitalocean"], weights = [1, 0] } }

output "engine_database_id" { value = "db-engine" }
output "redis_id" { value = "db-redis" }
output "workers" { value = terraform_data.workers.output.droplets }
output "zone_id" { value = "zone" }
output "load_balancer_id" { value = "balancer" }
output "pool_today" { value = "pool-today" }
output "pool_digitalocean" { value = "pool-digitalocean" }
