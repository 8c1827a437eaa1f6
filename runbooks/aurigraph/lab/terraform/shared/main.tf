# The lab's likeness of infrastructure/terraform/shared: six regions, each with a tunnel to every other.
variable "environment" { type = string }
variable "clouds" { type = list(string) }

locals {
  by_cloud = { aws = ["us-east-1", "us-west-2"], azure = ["eastus", "westus"], gcp = ["us-central1", "us-west1"] }
  regions  = flatten([for cloud in var.clouds : local.by_cloud[cloud]])
  pairs    = flatten([for at, one in local.regions : [for two in slice(local.regions, at + 1, length(local.regions)) : "${one}/${two}"]])
}

resource "terraform_data" "tunnel" {
  for_each = toset(local.pairs)
  input    = { ends = split("/", each.key), environment = var.environment }
}

output "tunnel_count" { value = length(terraform_data.tunnel) }
