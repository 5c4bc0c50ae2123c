/* A stand-in for NVIDIA's management library: three devices, and what a server asks of them. The test says by files
   whether the second is lost (LOST) and whether the library hangs (HANG). Names, numbers and layouts are nvml.h's. */
#include <stdio.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };

#define DEVICES 3
#define MIB (1ULL << 20)

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} Memory;

typedef struct {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
} Process;

static int devices[DEVICES];

static int index_of(void *device) { return (int *)device - devices; }

int nvmlInit_v2(void) { return SUCCESS; }

int nvmlShutdown(void) { return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    while (access(HANG, F_OK) == 0) usleep(1000);
    *count = DEVICES;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index >= DEVICES) return INVALID_ARGUMENT;
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *to, unsigned length) {
    snprintf(to, length, "GPU-%d", index_of(device));
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *to, unsigned length) {
    snprintf(to, length, "Stand-in 8\"");
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, Memory *memory) {
    int index = index_of(device);
    if (memory->version != (sizeof(Memory) | 2 << 24)) return INVALID_ARGUMENT;
    if (index == 1 && access(LOST, F_OK) == 0) return GPU_IS_LOST;
    memory->total = 8192 * MIB;
    memory->reserved = 256 * MIB;
    memory->used = (1000 + index) * MIB;
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}

/* On the first device this process is on two of its parts, beside another process; the second does not tell, and the
   third does not tell how much. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *to) {
    unsigned own = getpid();
    Process first[] = {{own, 300 * MIB, 1, 0}, {own + 1, 500 * MIB, 1, 0}, {own, 12 * MIB, 2, 0}};
    Process third[] = {{own, ~0ULL, ~0U, ~0U}};
    int index = index_of(device);
    Process *from = index == 0 ? first : third;
    unsigned have = index == 0 ? 3 : 1;
    if (index == 1) return NOT_SUPPORTED;
    unsigned room = *count;
    *count = have;
    if (room < have) return INSUFFICIENT_SIZE;
    for (unsigned at = 0; at < have; at++) to[at] = from[at];
    return SUCCESS;
}
