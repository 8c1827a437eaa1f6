# The lab's likeness of the old nodes' module, which post-migration.yaml destroys.
variable "environment" { type = string }

resource "terraform_data" "node" {
  count = 12
  input = { name = "aurigraph-old-${count.index}", environment = var.environment }
}
