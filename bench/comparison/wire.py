"""Speaks RocketMQ's frames with JSON headers, as far as preparing a broker needs it."""

import json
import socket
import struct

UPDATE_CONSUMER_OFFSET = 15
UPDATE_AND_CREATE_TOPIC = 17
GET_MAX_OFFSET = 30
HEART_BEAT = 34
GET_BROKER_CLUSTER_INFO = 106
SEND_MESSAGE_V2 = 310

SUCCESS = 0
CALL_TIMEOUT_S = 30
# So many requests go out before their answers are read: more might fill both directions.
PIPELINED = 64


class WireError(Exception):
    """A broker refused, or is not there."""


class Connection:
    """One connection. It may be left open and idle."""

    def __init__(self, port: int):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=CALL_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def call(self, code: int, fields: dict | None = None, body: bytes = b"") -> tuple[dict, bytes]:
        """Header and body of the answer; WireError unless it is a success."""
        return self.call_all([(code, fields or {}, body)])[0]

    def call_all(self, requests: list[tuple[int, dict, bytes]]) -> list[tuple[dict, bytes]]:
        """Many requests, some in flight at a time."""
        answers = []
        for start in range(0, len(requests), PIPELINED):
            part = requests[start : start + PIPELINED]
            self._socket.sendall(b"".join(_frame(number, *one) for number, one in enumerate(part)))
            answers += [self._answer() for _ in part]
        return answers

    def _answer(self) -> tuple[dict, bytes]:
        while True:
            (length,) = struct.unpack(">I", self._read(4))
            frame = self._read(length)
            header_bytes = struct.unpack(">I", frame[:4])[0] & 0xFFFFFF
            header = json.loads(frame[4 : 4 + header_bytes])
            if not header["flag"] & 1:
                continue  # a notice from the broker
            if header["code"] != SUCCESS:
                raise WireError(f"{header['code']}: {header.get('remark')}")
            return header, frame[4 + header_bytes :]

    def _read(self, count: int) -> bytes:
        while len(self._received) < count:
            part = self._socket.recv(1 << 16)
            if not part:
                raise WireError("the connection was closed")
            self._received += part
        read, self._received = self._received[:count], self._received[count:]
        return read


def _frame(opaque: int, code: int, fields: dict, body: bytes) -> bytes:
    header = {"code": code, "language": "PYTHON", "version": 513, "opaque": opaque, "flag": 0}
    header["extFields"] = {name: str(value) for name, value in fields.items()}
    header["serializeTypeCurrentRPC"] = "JSON"
    text = json.dumps(header).encode()
    return struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body


def new_topic(topic: str, queues: int) -> tuple[int, dict, bytes]:
    """The request that creates a topic."""
    fields = {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues}
    fields |= {"perm": 6, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false"}
    return UPDATE_AND_CREATE_TOPIC, fields, b""


def send(topic: str, queue: int, body: bytes) -> tuple[int, dict, bytes]:
    """The request that stores one message."""
    fields = {"a": "bench", "b": topic, "c": "TBW102", "d": 4, "e": queue, "f": 0}
    fields |= {"g": 0, "h": 0, "i": "", "j": 0, "k": "false", "m": "false"}
    return SEND_MESSAGE_V2, fields, body


def heartbeat(client: str, producers: list[str], consumers: list[str], topic: str) -> tuple[int, dict, bytes]:
    """The request that makes groups known on this connection."""
    subscription = {"topic": topic, "subString": "*", "expressionType": "TAG", "subVersion": 1}
    subscription |= {"classFilterMode": False, "codeSet": [], "tagsSet": []}
    data = {
        "clientID": client,
        "producerDataSet": [{"groupName": group} for group in producers],
        "consumerDataSet": [
            {
                "groupName": group,
                "consumeType": "CONSUME_PASSIVELY",
                "messageModel": "CLUSTERING",
                "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
                "subscriptionDataSet": [subscription],
                "unitMode": False,
            }
            for group in consumers
        ],
    }
    return HEART_BEAT, {}, json.dumps(data).encode()


def commit(group: str, topic: str, queue: int, offset: int) -> tuple[int, dict, bytes]:
    """The request that commits where a group is."""
    fields = {"consumerGroup": group, "topic": topic, "queueId": queue, "commitOffset": offset}
    return UPDATE_CONSUMER_OFFSET, fields, b""


def stored(port: int, topic: str, queues: int) -> int:
    """How many messages a topic holds, none having expired."""
    return sum(ends(port, topic, queues))


def ends(port: int, topic: str, queues: int) -> list[int]:
    """The offset behind the last message of each queue."""
    requests = [(GET_MAX_OFFSET, {"topic": topic, "queueId": queue}, b"") for queue in range(queues)]
    with Connection(port) as connection:
        answers = connection.call_all(requests)
    return [int(header["extFields"]["offset"]) for header, _ in answers]
