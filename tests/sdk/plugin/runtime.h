// Test code. The part of the Neuron runtime that the double imitates: devices, cores that belong to one process, its
// log lines and status codes, and the file format of a compiled model.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "fault.h"

namespace neuron_double {

#ifdef NEURON_DOUBLE_INF1
constexpr int cores_per_device = 4;
constexpr std::uint64_t neff_major = 1;
#else
constexpr int cores_per_device = 2;
constexpr std::uint64_t neff_major = 2;
#endif

// As the runtime logs: the fraction is of four digits.
inline void log_error(const std::string& where, const std::string& text) {
  timeval now{};
  gettimeofday(&now, nullptr);
  char date[64];
  std::strftime(date, sizeof date, "%Y-%b-%d %H:%M:%S", std::gmtime(&now.tv_sec));
  std::fprintf(stderr, "%s.%04d %d:%d ERROR  %-45s %s\n", date, static_cast<int>(now.tv_usec / 100), getpid(), getpid(),
               where.c_str(), text.c_str());
}

inline const char* status_text(int status) {
  switch (status) {
    case 1: return "Non specific failure";
    case 2: return "Invalid";
    case 4: return "Allocation Failure";
    case 5: return "Timeout";
    case 10: return "Unsupported NEFF version";
    case 101: return "Execution unit unrecoverable";
    case 1003: return "Completed with numerical error";
    case 1004: return "Completed with error";
    case 1005: return "NeuronCore busy";
    case 1202: return "NeuronCore uncorrectable error";
    default: return "Unknown";
  }
}

inline std::runtime_error not_initialized() {
  return std::runtime_error(
      "The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged\n"
      "to your system logs. See the Neuron Runtime's troubleshooting guide for help on this\n"
      "topic: https://awsdocs-neuron.readthedocs-hosted.com/en/latest/");
}

inline std::runtime_error not_loaded(int status) {
  return std::runtime_error("Could not load the model status=" + std::to_string(status) +
                            " message=" + status_text(status));
}

// The devices are files <root>/dev/neuron0, neuron1, ...
class Runtime {
 public:
  static Runtime& get() {
    static Runtime runtime;
    return runtime;
  }

  static int core_count() {
    int devices = 0;
    struct stat info{};
    while (::stat((device_root() + "/dev/neuron" + std::to_string(devices)).c_str(), &info) == 0) ++devices;
    return devices * cores_per_device;
  }

  // False where there is no device. Throws where there are cores and this process cannot have them.
  bool initialize() {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (initialized_) return true;
    const int count = core_count();
    if (count == 0) {
      log_error("TDRV:tdrv_get_dev_info", "No neuron device available");
      return false;
    }
    std::vector<int> cores = visible(count);
    bool taken = fault() != "busy" && take(cores);
    // Of a count, which may be anywhere, the next free cores.
    while (!taken && fault() != "busy" && !named() && cores.back() + 1 < count) {
      release();
      for (int& core : cores) ++core;
      taken = take(cores);
    }
    if (!taken) {
      release();
      log_error("NRT:nrt_allocate_neuron_cores", "NeuronCore(s) not available - Requested:nc" +
                                                     std::to_string(cores.front()) + "-nc" +
                                                     std::to_string(cores.back()) + " Available:0");
      log_error("NRT:nrt_infodump", "Failure: NRT_RESOURCE in nrt_init()");
      throw not_initialized();
    }
    cores_ = static_cast<int>(cores.size());
    return initialized_ = true;
  }

  int visible_count() const { return cores_; }

  void close() {
    const std::lock_guard<std::mutex> guard(mutex_);
    release();
    initialized_ = false;
  }

 private:
  // Whether the environment says which cores.
  static bool named() {
    const char* text = std::getenv("NEURON_RT_VISIBLE_CORES");
    return text != nullptr && *text != 0;
  }

  // `2`, `0-3`, `3,4` or a mix, contiguous and rising.
  static std::vector<int> visible(int count) {
    std::vector<int> cores;
    const char* text = std::getenv("NEURON_RT_VISIBLE_CORES");
    if (!named()) {
      const char* number = std::getenv("NEURON_RT_NUM_CORES");
      const int wanted = number == nullptr ? 0 : std::atoi(number);
      for (int core = 0; core < (wanted > 0 ? wanted : count); ++core) cores.push_back(core);
    }
    for (const char* at = text; at != nullptr && *at != 0;) {
      int used = 0, first = 0, last = 0;
      if (std::sscanf(at, "%d-%d%n", &first, &last, &used) < 2) {
        if (std::sscanf(at, "%d%n", &first, &used) < 1) throw not_initialized();
        last = first;
      }
      for (int core = first; core <= last; ++core) cores.push_back(core);
      at += used;
      if (*at == ',') ++at;
    }
    for (std::size_t i = 0; i < cores.size(); ++i) {
      if (cores[i] != cores[0] + static_cast<int>(i)) {
        log_error("NRT:nrt_init", "Neuron cores are not contiguous");
        throw not_initialized();
      }
    }
    if (cores.empty() || cores.front() < 0 || cores.back() >= count) {
      log_error("NRT:nrt_allocate_neuron_cores",
                "NeuronCore(s) not available - Requested:" + std::to_string(cores.size()) +
                    " Available:" + std::to_string(count));
      throw not_initialized();
    }
    return cores;
  }

  // A core belongs to the process that holds the lock of its file.
  bool take(const std::vector<int>& cores) {
    for (const int core : cores) {
      const std::string path = device_root() + "/dev/neuron-core-" + std::to_string(core) + ".lock";
      const int file = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
      if (file < 0) return false;
      locks_.push_back(file);
      if (::flock(file, LOCK_EX | LOCK_NB) != 0) return false;
    }
    return true;
  }

  void release() {
    for (const int file : locks_) ::close(file);
    locks_.clear();
  }

  std::mutex mutex_;
  std::vector<int> locks_;
  int cores_ = 0;
  bool initialized_ = false;
};

// CRC-32 as zlib computes it.
inline std::uint32_t digest(const char* data, std::size_t size) {
  std::uint32_t table[256];
  for (std::uint32_t i = 0; i < 256; ++i) {
    table[i] = i;
    for (int bit = 0; bit < 8; ++bit) table[i] = table[i] & 1 ? 0xEDB88320U ^ (table[i] >> 1) : table[i] >> 1;
  }
  std::uint32_t crc = ~0U;
  for (std::size_t i = 0; i < size; ++i) crc = table[(crc ^ static_cast<unsigned char>(data[i])) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

// The data behind the header of 1024 bytes that real NEFFs have. In a double it is a TorchScript file.
inline std::string neff_data(const std::string& neff) {
  constexpr std::size_t header = 1024;
  std::uint64_t fields[5] = {};  // package version, header size, data size, major, minor
  if (neff.size() >= header) std::memcpy(fields, neff.data(), sizeof fields);
  if (neff.size() < header || fields[1] != header || fields[2] != neff.size() - header) {
    log_error("NEFF:neff_parse", "NEFF is invalid; it could be broken or hacked");
    throw not_loaded(2);
  }
  if (fault() == "neff-version" || fields[3] > neff_major) {
    const std::string received = std::to_string(fault() == "neff-version" ? neff_major + 1 : fields[3]);
    log_error("NEFF:neff_parse", "NEFF version mismatch supported: " + std::to_string(neff_major) +
                                     ".0 received: " + received + ".0");
    throw not_loaded(10);
  }
  std::uint32_t expected = 0;
  std::memcpy(&expected, neff.data() + 172, sizeof expected);
  if (digest(neff.data() + header, neff.size() - header) != expected) {
    log_error("NEFF:neff_parse", "NEFF is invalid; it could be broken or hacked");
    throw not_loaded(2);
  }
  return neff.substr(header);
}

}  // namespace neuron_double
