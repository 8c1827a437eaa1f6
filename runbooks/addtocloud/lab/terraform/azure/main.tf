# What Azure has of AddToCloud, in the lab.
terraform {
  backend "local" {}
}

resource "terraform_data" "aks" { input = { name = "addtocloud-aks", region = "eastus", role = "tertiary" } }
resource "terraform_data" "node_pool" { input = { cluster = terraform_data.aks.output.name, vm_size = "Standard_D2s_v3" } }
resource "terraform_data" "gateway" { input = { kind = "application-gateway" } }
resource "terraform_data" "postgresql" { input = { engine = "azure-database", role = "backup" } }
resource "terraform_data" "mongodb" { input = { engine = "cosmos-db", role = "backup" } }
resource "terraform_data" "redis" { input = { engine = "azure-cache-for-redis", role = "backup" } }

output "region" { value = terraform_data.aks.output.region }
output "cluster" { value = terraform_data.aks.output.name }
