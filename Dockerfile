# One image for every role: `thrustmq standalone`, `thrustmq namesrv`, `thrustmq broker`.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package thrustmq-cli

FROM debian:bookworm-slim
RUN useradd --system --home-dir /data --shell /usr/sbin/nologin thrustmq \
    && mkdir /data && chown thrustmq:thrustmq /data
COPY --from=build /source/target/release/thrustmq /usr/local/bin/thrustmq
USER thrustmq
WORKDIR /data
VOLUME /data
# name server · broker · broker's second port
EXPOSE 9876 10911 10909
ENTRYPOINT ["thrustmq"]
CMD ["standalone", "--data", "/data", "--bind", "0.0.0.0"]
