#include "base/worker_pool.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace cvdecode {

struct WorkerPool::Threads {
  explicit Threads(int helpers) : pid(getpid()) {
    try {
      for (int i = 1; i <= helpers; ++i) threads.emplace_back([this, i] { loop(i); });
    } catch (const std::system_error&) {  // fewer threads than asked for do the same work
    }
  }

  ~Threads() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    wake.notify_all();
    for (auto& t : threads) t.join();
  }

  void loop(int index) {
    uint64_t seen = 0;
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stop || round != seen; });
      if (stop) return;
      seen = round;
      if (index >= count) continue;
      const auto* current = work;
      lock.unlock();
      (*current)(index);
      lock.lock();
      if (--running == 0) done.notify_one();
    }
  }

  const pid_t pid;
  std::mutex mutex;
  std::condition_variable wake, done;
  const std::function<void(int)>* work = nullptr;
  uint64_t round = 0;
  int count = 0;
  int running = 0;
  bool stop = false;
  std::vector<std::thread> threads;
};

WorkerPool::WorkerPool(int num_threads) : num_threads_(std::max(num_threads, 1)) {}

WorkerPool::~WorkerPool() {
  // In a forked child the threads do not exist: joining them would hang, so they are let go.
  if (threads_ && threads_->pid != getpid()) (void)threads_.release();
}

void WorkerPool::run(int count, const std::function<void(int)>& work) {
  count = std::min(count, num_threads_);
  if (count <= 1) {
    if (count == 1) work(0);
    return;
  }
  if (threads_ && threads_->pid != getpid()) (void)threads_.release();
  if (!threads_) threads_ = std::make_unique<Threads>(num_threads_ - 1);
  Threads& t = *threads_;
  count = std::min(count, static_cast<int>(t.threads.size()) + 1);
  {
    const std::lock_guard lock(t.mutex);
    t.work = &work;
    t.count = count;
    t.running = count - 1;
    ++t.round;
  }
  t.wake.notify_all();
  work(0);
  std::unique_lock lock(t.mutex);
  t.done.wait(lock, [&] { return t.running == 0; });
}

}  // namespace cvdecode
