"""Runs the compilers: one long-lived process a GPU and worker, answers cached by what went in."""

import gzip
import hashlib
import json
import os
import subprocess
from pathlib import Path

from gpus import Gpu
from spirv import Module


class Unavailable(Exception):
    """The compilers cannot be run here; the message is the sentence for the user."""


class Compiler:
    def __init__(self, bundle: Path, gpu: Gpu):
        self.gpu = gpu
        self.bundle = bundle.resolve()
        self.process = None
        self.device = None

    def start(self):
        root, tools = self.bundle / "root", self.bundle / "bin"
        manifest = str(self.bundle / f"{self.gpu.family}.json")
        environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        environment |= self.gpu.environment | {
            "VK_DRIVER_FILES": manifest, "VK_ICD_FILENAMES": manifest,
            "MESA_SHADER_CACHE_DISABLE": "1",  # a cached pipeline comes without its machine code
            "PAN_I_WANT_A_BROKEN_VULKAN_DRIVER": "1"}  # what Mesa demands for Mali before Valhall
        if self.gpu.family == "adreno":
            command = [root / "lib64/ld-linux-x86-64.so.2", "--preload", tools / "adreno_shim.so",
                       "--library-path", root / "usr/lib/x86_64-linux-gnu", tools / "adreno_stats"]
        else:
            command = ["qemu-aarch64-static", "-L", root, "-E", f"LD_PRELOAD={tools / 'mali_shim.so'}",
                       "-E", f"LD_LIBRARY_PATH={root / 'usr/lib/aarch64-linux-gnu'}", tools / "mali_stats"]
        self.log = open(self.bundle / f"{self.gpu.name}.log", "w")
        try:
            self.process = subprocess.Popen(list(map(str, command)), env=environment, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=self.log)
        except OSError as error:
            raise Unavailable(f"{command[0]} cannot be started ({error.strerror}); run "
                              "scripts/mobile_shaders/setup.sh") from error
        fields = self.line().split("\t")
        if fields[0] != "device":
            raise Unavailable(f"Mesa's {self.gpu.family} driver gave no device for {self.gpu.name}; "
                              f"see {self.log.name}")
        self.device = {"name": fields[1], "driver": fields[2]}

    def line(self) -> str:
        return self.process.stdout.readline().decode().rstrip("\n")

    def compile(self, module: Module, constants) -> dict:
        """{"stats": {...}, "texts": {name: text}}, or {"error": sentence}."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        subgroup = self.gpu.subgroup_size
        bindings = ",".join(f"{binding}={int(texels)}" for binding, texels in sorted(module.bindings.items()))
        job = [module.path.resolve(), subgroup, module.push_bytes, bindings or "-",
               ",".join(f"{i}={value}" for i, value in enumerate(constants)) or "-"]
        self.process.stdin.write((" ".join(map(str, job)) + "\n").encode())
        self.process.stdin.flush()
        answer = {"stats": {}, "texts": {}}
        while True:
            fields = self.line().split("\t")
            if fields[0] == "stat":
                answer["stats"][fields[1]] = int(fields[2]) if fields[2].isdigit() else float(fields[2])
            elif fields[0] == "text":
                answer["texts"][fields[1]] = self.process.stdout.read(int(fields[2])).decode(errors="replace")
                self.process.stdout.readline()
            elif fields[0] == "done":
                return answer if fields[1] == "0" else {"error": f"the driver refused it with VkResult {fields[1]}"}
            else:
                code = self.process.wait()
                return {"error": f"the compiler died with status {code}; see {self.log.name}"}

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()
            self.log.close()
            self.process = None


class Cache:
    """Answers by GPU, module, constants and the compilers' setup; kept until the bundle's folder goes."""

    def __init__(self, bundle: Path, gpu: Gpu):
        self.folder = bundle / "cache" / gpu.name
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (bundle / "stamp").exists():
            raise Unavailable(f"no compilers in {bundle}; run scripts/mobile_shaders/setup.sh")
        here = Path(__file__).resolve().parent
        compilers = hashlib.sha256((here / "packages.sha256").read_bytes() + (here / "drm_shim.patch").read_bytes())
        self.salt = f"{compilers.hexdigest()} {sorted(gpu.environment.items())} {gpu.subgroup_size}"

    def path(self, module: Module, constants) -> Path:
        key = f"{self.salt} {module.hash} {list(constants)}"
        return self.folder / (hashlib.sha256(key.encode()).hexdigest()[:32] + ".json.gz")

    def load(self, module: Module, constants):
        path = self.path(module, constants)
        return json.loads(gzip.decompress(path.read_bytes())) if path.exists() else None

    def store(self, module: Module, constants, answer):
        path = self.path(module, constants)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(gzip.compress(json.dumps(answer).encode(), 1))
        partial.rename(path)
