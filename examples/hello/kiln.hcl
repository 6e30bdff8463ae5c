# A Python program on Debian packages: three instances behind Kiln's proxy on http://127.0.0.1:8080/.

project = "hello"

image "web" {
  base     = debian("bookworm")
  packages = ["python3-minimal"]

  copy "app/" { to = "/srv/app" }
  run        = ["python3 -m compileall -q /srv/app"]
  user       = "www-data"
  entrypoint = ["python3", "/srv/app/main.py"]

  port "http" { number = 8080 }

  health {
    http     = "/healthz"
    interval = "1s"
  }

  stop {
    signal = "SIGTERM"
    grace  = "10s"
  }
}

check "home page" {
  image = image.web

  http {
    get      = "/"
    status   = 200
    contains = "hello"
  }
}

service "web" {
  image    = image.web
  replicas = 3

  env = {
    GREETING  = "hello"
    LOG_LEVEL = "info"
  }

  expose "http" {}

  rollout "blue-green" {
    healthy_deadline = "30s"
  }
}
