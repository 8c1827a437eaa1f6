# The lab's second month: the agents' cluster, and caching at the edge.
variable "environment" { type = string }
variable "scale" { type = string }
variable "region" { type = string }

resource "terraform_data" "cluster" { input = { name = "lattice-${var.environment}", region = var.region, minimum = 2, maximum = 20 } }
resource "terraform_data" "cache_rules" { input = { static = "1d", api = "60s" } }

output "cluster" { value = terraform_data.cluster.output.name }
