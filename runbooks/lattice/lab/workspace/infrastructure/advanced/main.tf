# The lab's third month: further regions, the WAF, alerts and dashboards.
variable "environment" { type = string }
variable "scale" { type = string }
variable "region" { type = string }
variable "regions" { type = list(string) }

resource "terraform_data" "region" {
  for_each = toset(var.regions)
  input    = each.value
}
resource "terraform_data" "waf" { input = ["managed rules", "bot management", "rate limits", "countries"] }
resource "terraform_data" "monitors" { input = { api_ms = 100, page_ms = 2000, agent_ms = 500, errors = 0.001, recovery_min = 5 } }

output "regions" { value = join(",", sort(keys(terraform_data.region))) }
