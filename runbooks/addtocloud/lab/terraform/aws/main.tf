# What AWS has of AddToCloud, in the lab: terraform's own resources, which only remember their values.
terraform {
  backend "local" {}
}

resource "terraform_data" "network" { input = { region = "us-east-1" } }
resource "terraform_data" "eks" {
  input      = { name = "addtocloud-eks", region = "us-east-1", role = "primary" }
  depends_on = [terraform_data.network]
}
resource "terraform_data" "node_group" {
  for_each = toset(["c5.large", "m5.large"])
  input    = { cluster = terraform_data.eks.output.name, instance_type = each.key, autoscaling = true }
}
resource "terraform_data" "postgresql" { input = { engine = "rds", multi_az = true, role = "primary" } }
resource "terraform_data" "mongodb" { input = { engine = "documentdb", role = "primary" } }
resource "terraform_data" "redis" { input = { engine = "elasticache", role = "primary" } }

output "region" { value = terraform_data.eks.output.region }
output "cluster" { value = terraform_data.eks.output.name }
