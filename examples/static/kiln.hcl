# A C server, compiled in one image and alone in another: the image that runs holds a single file.

project = "static"

image "build" {
  base     = debian("bookworm")
  packages = ["gcc", "libc6-dev"]

  copy "server.c" { to = "/out/server.c" }
  run = ["gcc -O2 -static -s -o /out/server /out/server.c"]
}

image "web" {
  base = scratch

  copy "/out/server" {
    image = image.build
    to    = "/server"
  }

  user       = "65534:65534"
  entrypoint = ["/server"]

  port "http" { number = 8080 }

  health {
    http     = "/healthz"
    interval = "1s"
  }
}

check "home page" {
  image = image.web

  http {
    get      = "/"
    contains = "hello from a single file"
  }
}

service "page" {
  image    = image.web
  replicas = 2

  limits {
    memory = "32MiB"
    pids   = 4
  }

  expose "http" { listen = 8081 }

  rollout "blue-green" {}
}
