# The whole system on a cluster, or on Coracle, by one command. The manifests beside this folder say what there is; this says where, and
# applies them with kubectl, so that nothing is written down twice. It needs no provider.

terraform {
  required_version = ">= 1.4"
}

variable "kubeconfig" {
  description = "The file that says which cluster, and as whom."
  type        = string
  default     = "~/.kube/config"
}

variable "overlay" {
  description = "The folder of ../overlays that is applied: dev or prod."
  type        = string
  default     = "prod"

  validation {
    condition     = contains(["dev", "prod"], var.overlay)
    error_message = "There are overlays for dev and prod."
  }
}

variable "kubectl" {
  description = "The program that applies."
  type        = string
  default     = "kubectl"
}

locals {
  system = abspath("${path.module}/..")
  parts = {
    app        = "overlays/${var.overlay}"
    monitoring = "monitoring"
  }
  # What each part is made of: when it changes, the part is applied again.
  sources = {
    app        = ["base/*.yaml", "gateway/*.yaml", "overlays/${var.overlay}/**/*.yaml"]
    monitoring = ["monitoring/*.yaml"]
  }
  hashes = {
    for part, patterns in local.sources : part => sha256(join("", [
      for file in sort(setunion([for pattern in patterns : fileset(local.system, pattern)]...)) : filesha256("${local.system}/${file}")
    ]))
  }
}

# That a part is there at all. It is not replaced when the part changes, and so takes the part away only when nobody wants it any more.
resource "terraform_data" "part" {
  for_each = local.parts
  input = {
    kubectl    = var.kubectl
    kubeconfig = pathexpand(var.kubeconfig)
    folder     = "${local.system}/${each.value}"
  }

  provisioner "local-exec" {
    when    = destroy
    command = "\"$KUBECTL\" delete --ignore-not-found --wait -k \"$FOLDER\""
    environment = {
      KUBECTL    = self.output.kubectl
      KUBECONFIG = self.output.kubeconfig
      FOLDER     = self.output.folder
    }
  }
}

# That it is as the files say now.
resource "terraform_data" "applied" {
  for_each         = terraform_data.part
  triggers_replace = [local.hashes[each.key], each.value.output]

  provisioner "local-exec" {
    command = "\"$KUBECTL\" apply -k \"$FOLDER\""
    environment = {
      KUBECTL    = each.value.output.kubectl
      KUBECONFIG = each.value.output.kubeconfig
      FOLDER     = each.value.output.folder
    }
  }
}
