# The image that `make image` makes without a container daemon, for those who prefer Docker or Podman:
#
#   docker build --build-arg VERSION=1.2.3 --build-arg COMMIT="$(git rev-parse HEAD)" -t registry.example.com/oauth-operator:1.2.3 .
#
# CA roots and time zones are in the programs.
FROM --platform=$BUILDPLATFORM golang:1.26.11 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=0.0.0-devel
ARG COMMIT=
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X github.com/oauth-operator/oauth-operator/version.version=$VERSION -X github.com/oauth-operator/oauth-operator/version.commit=$COMMIT" \
    -o /programs/ ./cmd/manager ./cmd/tokenserver

FROM scratch
ARG VERSION=0.0.0-devel
ARG COMMIT=
LABEL org.opencontainers.image.title="oauth-operator" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.source="https://github.com/oauth-operator/oauth-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /programs/manager /
COPY --from=build /programs/tokenserver /
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/manager"]
