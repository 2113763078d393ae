/* SPDX-License-Identifier: MIT */
/*
 * Everything the hypervisor says or hears: COM1 (people), 0xE9 (records for the command),
 * 0xEA (trace), COM2 (requests from the command). Polled; no interrupt is ever enabled.
 * COM1 is the guest's while it runs, so its state is unknown afterwards: console_reclaim().
 */
#include "format.h"
#include "internal.h"
#include "layout.h"
#include "platform.h"
#include "spin.h"

enum uart_register {
	UART_DATA = 0,
	UART_INTERRUPT_ENABLE = 1,
	UART_FIFO_CONTROL = 2,
	UART_LINE_CONTROL = 3,
	UART_MODEM_CONTROL = 4,
	UART_LINE_STATUS = 5,
};

enum {
	LINE_8N1 = 0x03,
	LINE_DIVISOR_LATCH = 0x80,
	FIFO_ON_CLEARED = 0x07,
	FIFO_ON = 0x01,
	MODEM_DTR_RTS_OUT2 = 0x0b,
	STATUS_DATA_READY = 0x01,
	STATUS_ROOM = 0x20,
	STATUS_EMPTY = 0x40,
	STATUS_NO_PORT = 0xff,
	WAIT_TURNS_MAX = 1000000,
	LOCK_TURNS_MAX = 10000000,
};

/* COM1 did not drain once: later characters are sent without waiting. */
static bool com1_stuck;

static void com1_wait(uint8_t status_bit)
{
	for (uint32_t turn = 0; turn < WAIT_TURNS_MAX && !com1_stuck; turn++) {
		if ((io_in8(PORT_COM1 + UART_LINE_STATUS) & status_bit) != 0)
			return;
		cpu_relax();
	}
	com1_stuck = true;
}

static void uart_init(uint16_t port, uint8_t fifo)
{
	io_out8((uint16_t)(port + UART_LINE_CONTROL), LINE_8N1 | LINE_DIVISOR_LATCH);
	io_out8((uint16_t)(port + UART_DATA), 1); /* divisor 1: 115200 baud */
	io_out8((uint16_t)(port + UART_INTERRUPT_ENABLE), 0);
	io_out8((uint16_t)(port + UART_LINE_CONTROL), LINE_8N1);
	io_out8((uint16_t)(port + UART_INTERRUPT_ENABLE), 0);
	io_out8((uint16_t)(port + UART_FIFO_CONTROL), fifo);
	io_out8((uint16_t)(port + UART_MODEM_CONTROL), MODEM_DTR_RTS_OUT2);
}

void console_init(void)
{
	uart_init(PORT_COM1, FIFO_ON_CLEARED);
	uart_init(PORT_COM2, FIFO_ON_CLEARED);
}

void console_reclaim(void)
{
	com1_stuck = false;
	/* The guest's last characters may still be in the FIFO: do not clear it. */
	io_out8(PORT_COM1 + UART_LINE_CONTROL, LINE_8N1);
	com1_wait(STATUS_EMPTY);
	uart_init(PORT_COM1, FIFO_ON);
	com1_stuck = false;
}

static void com1_put(char c)
{
	if (io_in8(PORT_COM1 + UART_LINE_STATUS) == STATUS_NO_PORT)
		return;
	com1_wait(STATUS_ROOM);
	io_out8(PORT_COM1 + UART_DATA, (uint8_t)c);
}

void console_putc(char c)
{
	if (c == '\n')
		com1_put('\r');
	com1_put(c);
}

void console_flush(void)
{
	if (io_in8(PORT_COM1 + UART_LINE_STATUS) != STATUS_NO_PORT)
		com1_wait(STATUS_EMPTY);
}

static void console_put(struct text_sink *sink, char c)
{
	(void)sink;
	console_putc(c);
}

void console_vprintf(const char *format, va_list args)
{
	struct text_sink sink = {.put = console_put};

	format_to_sink(&sink, format, args);
}

void console_printf(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	console_vprintf(format, args);
	va_end(args);
}

/*
 * A record on a channel comes from one CPU. Who has crashed may have the lock: then it is not
 * waited for long, and words may mix.
 */
static struct spin channels;

static bool channels_lock(void)
{
	for (uint32_t turn = 0; turn < LOCK_TURNS_MAX; turn++) {
		if (spin_try(&channels))
			return true;
		cpu_relax();
	}
	return false;
}

static void channels_unlock(bool locked)
{
	if (locked)
		spin_unlock(&channels);
}

/* A record is one line whatever its arguments hold. */
static void report_put(struct text_sink *sink, char c)
{
	(void)sink;
	io_out8(PORT_REPORT, (uint8_t)c < ' ' || c == '\x7f' ? ' ' : (uint8_t)c);
}

void report_vline(const char *format, va_list args)
{
	struct text_sink sink = {.put = report_put};
	bool locked = channels_lock();

	format_to_sink(&sink, format, args);
	io_out8(PORT_REPORT, '\n');
	channels_unlock(locked);
}

void report_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report_vline(format, args);
	va_end(args);
}

void trace_write(const void *data, size_t bytes)
{
	bool locked = channels_lock();

	io_out8_many(PORT_TRACE, data, bytes);
	channels_unlock(locked);
}

int control_getc(void)
{
	uint8_t status = io_in8(PORT_COM2 + UART_LINE_STATUS);

	if (status == STATUS_NO_PORT || (status & STATUS_DATA_READY) == 0)
		return -1;
	return io_in8(PORT_COM2 + UART_DATA);
}
