# The lab's likeness of infrastructure/terraform/azure: the same variables, outputs and counts, with terraform's built-in resource instead of the provider's.
variable "environment" { type = string }

locals {
  networks = { "eastus" = "10.10.0.0/16", "westus" = "10.11.0.0/16" }
  sizes    = { validator = "Standard_D8s_v5", business = "Standard_D4s_v5", slim = "Standard_B2s" }
  counts   = { validator = 2, business = 3, slim = 6 }
  nodes = merge([for region in keys(local.networks) : merge([for role, count in local.counts : {
    for number in range(1, count + 1) : "${region}/${role}-${number}" => { region = region, size = local.sizes[role] }
  }]...)]...)
}

resource "terraform_data" "network" {
  for_each = local.networks
  input    = { region = each.key, range = each.value }
}

resource "terraform_data" "node" {
  for_each   = local.nodes
  input      = { name = "aurigraph-${replace(each.key, "/", "-")}", size = each.value.size, environment = var.environment }
  depends_on = [terraform_data.network]
}

resource "terraform_data" "database" {
  for_each = local.networks
  input    = { region = each.key, engine = "postgres", highly_available = true }
}

resource "terraform_data" "cache" {
  for_each = local.networks
  input    = { region = each.key, engine = "redis" }
}

output "node_count" { value = length(terraform_data.node) }
output "networks" { value = values(local.networks) }
