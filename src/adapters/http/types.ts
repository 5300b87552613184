export interface HttpRequest {
  method: string
}
export interface HttpResponse {
  status?: number
}
