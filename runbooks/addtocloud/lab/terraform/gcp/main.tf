# What Google Cloud has of AddToCloud, in the lab.
terraform {
  backend "local" {}
}

resource "terraform_data" "gke" { input = { name = "addtocloud-gke", region = "us-central1", role = "secondary" } }
resource "terraform_data" "node_pool" {
  for_each = toset(["preemptible", "standard"])
  input    = { cluster = terraform_data.gke.output.name, kind = each.key }
}
resource "terraform_data" "postgresql" { input = { engine = "cloud-sql", role = "replica" } }
resource "terraform_data" "mongodb" { input = { engine = "mongodb-atlas", role = "replica" } }
resource "terraform_data" "redis" { input = { engine = "memorystore", role = "replica" } }

output "region" { value = terraform_data.gke.output.region }
output "cluster" { value = terraform_data.gke.output.name }
