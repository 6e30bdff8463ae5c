# Two services: `front` shows the shop and calls `api` by name; `api` keeps its orders in a volume.

project = "shop"

locals {
  debian_python = debian("bookworm")
  api_port      = 9000 # not front's own: an ordinary user's instances reach their peers on loopback
}

image "api" {
  base     = local.debian_python
  packages = ["python3"]

  copy "lib/" { to = "/srv/lib" }
  copy "api/" { to = "/srv/api" }

  env        = { PYTHONPATH = "/srv/lib", PORT = tostring(local.api_port) }
  user       = "www-data"
  entrypoint = ["python3", "/srv/api/main.py"]

  port "http" { number = local.api_port }

  volume "data" { path = "/var/lib/shop" }

  health {
    http     = "/healthz"
    interval = "1s"
  }
}

image "front" {
  base     = local.debian_python
  packages = ["python3"]

  copy "lib/" { to = "/srv/lib" }
  copy "front/" { to = "/srv/front" }

  env        = { PYTHONPATH = "/srv/lib" }
  user       = "www-data"
  entrypoint = ["python3", "/srv/front/main.py"]

  port "http" { number = 8080 }

  health {
    http     = "/healthz"
    interval = "1s"
  }
}

check "the list of items" {
  image = image.api

  http {
    get      = "/items"
    contains = "teapot"
  }
}

service "api" {
  image    = image.api
  replicas = 2

  volume "data" {}

  rollout "rolling" {
    max_surge       = 1
    max_unavailable = 0
  }
}

service "front" {
  image      = image.front
  replicas   = 2
  depends_on = [service.api]

  env = {
    API   = format("http://api:%d", local.api_port)
    TITLE = "The shop"
  }

  expose "http" { listen = 8082 }

  rollout "rolling" {
    max_surge       = 1
    max_unavailable = 0
  }
}
